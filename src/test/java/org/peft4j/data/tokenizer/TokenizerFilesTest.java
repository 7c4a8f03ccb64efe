package org.peft4j.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;

/** Tokens are those of transformers, whatever files stand beside a vocabulary; what is wrong is told by file. */
class TokenizerFilesTest {
    @TempDir
    Path directory;

    @SuppressWarnings("unchecked")
    static Stream<Arguments> variants() throws IOException {
        return ((List<Map<String, Object>>) TinyModel.fixture("expected").get("variants"))
                .stream().map(variant -> Arguments.of(variant.get("name"), variant));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("variants")
    @SuppressWarnings("unchecked")
    void tokensAreThoseOfTransformers(String name, Map<String, Object> variant) throws IOException {
        Map<String, Object> files = new HashMap<>((Map<String, Object>) variant.get("files"));
        if (!files.containsKey("vocab.txt")) {
            Map<String, Object> tokenizer = new HashMap<>(TinyModel.fixture((String) variant.get("base")));
            tokenizer.put("truncation", variant.get("truncation"));
            files.put("tokenizer.json", tokenizer);
        }
        ModelDirectory model = TinyModel.open(directory, files);
        List<String> texts = TinyModel.texts();
        List<List<Integer>> whole = (List<List<Integer>>) variant.get("whole");
        try (TextTokenizer long_ = TextTokenizer.open(model, 100_000);
                TextTokenizer short_ = TextTokenizer.open(model, 9)) {
            for (int i = 0; i < texts.size(); i++) {
                assertThat(boxed(long_.encode(texts.get(i)))).as(texts.get(i)).isEqualTo(whole.get(i));
                TextTokenizer.Tokens cut = short_.encodeWithCut(texts.get(i));
                assertThat(boxed(cut.tokens()))
                        .as(texts.get(i))
                        .isEqualTo(((List<List<Integer>>) variant.get("cut")).get(i));
                assertThat(cut.cut()).as(texts.get(i)).isEqualTo(whole.get(i).size() > 9);
            }
        }
    }

    private static List<Integer> boxed(int[] tokens) {
        return Arrays.stream(tokens).boxed().toList();
    }

    @Test
    void configDecidesOverTheFileAndThatIsTold() throws IOException {
        assertThat(notes("{\"do_lower_case\": false}"))
                .singleElement()
                .asString()
                .contains("tokenizer.json: its normalizer does not count", "lowercase=false");
        assertThat(notes("{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"do_lower_case\": false}"))
                .singleElement()
                .asString()
                .contains("'do_lower_case' false is passed over");
        assertThat(notes("{\"padding_side\": \"left\", \"clean_up_tokenization_spaces\": true}"))
                .isEmpty();
        assertThat(notes("{\"do_basic_tokenize\": false, \"fancy\": 3}"))
                .hasSize(2)
                .anyMatch(note -> note.contains("'do_basic_tokenize' is passed over"))
                .anyMatch(note -> note.contains("'fancy' is passed over"));
    }

    private List<String> notes(String config) throws IOException {
        ModelDirectory model = TinyModel.open(
                directory, Map.of("tokenizer.json", TinyModel.fixture("wordpiece"), "tokenizer_config.json", config));
        try (TextTokenizer tokenizer = TextTokenizer.open(model, 16)) {
            return tokenizer.notes();
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{'truncation_side': 'middle'}               | truncation_side must be one of [left, right], got middle",
                "{'do_lower_case': 'yes'}                    | do_lower_case must be true or false, got yes",
                "{'model_max_length': -1}                    | model_max_length must be a whole number from 1",
                "{'model_max_length': 'long'}                | model_max_length must be a whole number from 1",
                "{'fast_tokenizer_files': ['t.4.0.json']}    | is not supported: it names other files than tokenizer.json",
                "{'tokenizer_class': 'BertJapaneseTokenizer'}| tokenizer_class BertJapaneseTokenizer is written in Python",
                "{'tokenizer_class': 'MPNetTokenizer', 'do_lower_case': false} | do_lower_case is false, but tokenizer.json",
                "{'added_tokens_decoder': {'x': {'content': 'a'}}} | must have tokens' numbers as keys, got 'x'",
                "{'added_tokens_decoder': {'7': {'content': '[CLS]'}}} | '[CLS]' has number 7, but its place",
                "{'cls_token': ''}                           | cls_token must be a text that is not empty",
                "{'cls_token': {'content': 3}}               | cls_token.content must be a text, got 3",
                "{'unk_token': '<nope>'}                     | model.unk_token is '<nope>', which model.vocab lacks",
            })
    void wrongConfigIsRefusedByName(String config, String message) throws IOException {
        ModelDirectory model = TinyModel.open(
                directory,
                Map.of(
                        "tokenizer.json",
                        TinyModel.fixture("wordpiece"),
                        "tokenizer_config.json",
                        config.replace('\'', '"')));
        assertThatThrownBy(() -> TextTokenizer.open(model, 16))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(message.strip());
    }

    @Test
    void modelMaxLengthIsAValueOrNone() throws IOException {
        ModelDirectory model = TinyModel.open(directory, Map.of());
        assertThat(TextTokenizer.modelMaxLength(model)).isEmpty();
        for (String none : List.of("null", "1000000000000000019884624838656", "1e30")) {
            Files.writeString(directory.resolve("tokenizer_config.json"), "{\"model_max_length\": " + none + "}");
            assertThat(TextTokenizer.modelMaxLength(model)).as(none).isEmpty();
        }
        Files.writeString(directory.resolve("tokenizer_config.json"), "{\"max_len\": 512}");
        assertThat(TextTokenizer.modelMaxLength(model)).hasValue(512);
    }

    @Test
    void filesOfOtherKindsAreCalledWhatTheyAre() throws IOException {
        String pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 711661\n";
        for (String file : List.of("tokenizer.json", "vocab.txt", "tokenizer_config.json")) {
            Path place = directory.resolve(file.substring(0, 5));
            Map<String, Object> files = new HashMap<>(Map.of("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n"));
            files.put(file, pointer);
            ModelDirectory model = TinyModel.open(place, files);
            assertThatThrownBy(() -> TextTokenizer.open(model, 16))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContainingAll(file, "Git LFS pointer");
        }
    }

    @Test
    void vocabularyThatCannotWorkIsRefused() throws IOException {
        refusesVocabulary("", "this is empty");
        refusesVocabulary("[PAD]\nthe\n", "model.unk_token is '[UNK]', which model.vocab lacks");
        refusesVocabulary("[UNK]\nthe\nthe\n", "gets a number that another token has");
        ModelDirectory none = TinyModel.open(directory.resolve("none"), Map.of());
        assertThatThrownBy(() -> TextTokenizer.open(none, 16))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("neither tokenizer.json nor vocab.txt");
        Files.write(directory.resolve("vocab.txt"), new byte[] {(byte) 0xFF, (byte) 0xFE, 'a', 0});
        ModelDirectory utf16 = TinyModel.open(directory, Map.of());
        assertThatThrownBy(() -> TextTokenizer.open(utf16, 16)).hasMessageContaining("UTF-16, expected UTF-8");
    }

    private void refusesVocabulary(String content, String message) throws IOException {
        ModelDirectory model = TinyModel.open(directory.resolve("v"), Map.of("vocab.txt", content));
        assertThatThrownBy(() -> TextTokenizer.open(model, 16))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(message);
    }

    @Test
    void theTableHasTheKeysOfTransformers() {
        assertThat(TokenizerKeys.TABLE.keys())
                .contains("do_lower_case", "truncation_side", "padding_side")
                .hasSizeGreaterThan(50);
    }
}
