package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;

/** Texts of the small trained model among the examples, and what its options mean. */
class TextGeneratorTest {
    private static final Path STORIES = Path.of("src/examples/data/stories260k");
    private static final String KING = "KING RICHARD II:";

    private static final TextGenerator.Options DRAWN =
            TextGenerator.Options.defaults().withTemperature(0.7).withSeed(1).withMaxNewTokens(24);

    private static TextGenerator generator;

    @TempDir
    Path dir;

    @BeforeAll
    static void open() throws IOException {
        generator = TextGenerator.open(STORIES, null);
    }

    @AfterAll
    static void close() {
        generator.close();
    }

    /** The answer begins with {@code “Hi!" She asked}, of tokens of a letter or two. */
    @ParameterizedTest
    @CsvSource({"“Hi, ' '", "H, ' “'", "'i!\" S', ' “H'"})
    void aStopTextIsFoundAcrossTokens(String stop, String before) {
        StringBuilder told = new StringBuilder();
        TextGenerator.Continuation said = generator
                .generate(List.of(KING), DRAWN.withStop(List.of(stop)), (prompt, piece) -> told.append(piece))
                .get(0);
        assertThat(said.text()).isEqualTo(before);
        assertThat(told).hasToString(before);
        assertThat(said.complete()).isTrue();
    }

    @Test
    void severalAnswersAreToldApart() {
        Map<Integer, StringBuilder> told = new TreeMap<>();
        List<String> first = new ArrayList<>();
        TextGenerator.Listener listener = new TextGenerator.Listener() {
            @Override
            public void text(int prompt, String piece) {
                first.add(piece);
            }

            @Override
            public void text(int prompt, int answer, String piece) {
                assertThat(prompt).isZero();
                told.computeIfAbsent(answer, key -> new StringBuilder()).append(piece);
            }
        };
        for (TextGenerator.Options options : List.of(
                DRAWN.withN(3),
                TextGenerator.Options.defaults().withBeams(3).withN(2).withMaxNewTokens(12))) {
            told.clear();
            List<TextGenerator.Continuation> answers =
                    generator.answers(List.of(KING), options, listener).get(0);
            assertThat(answers).hasSize(options.n()).doesNotHaveDuplicates();
            assertThat(told.values().stream().map(StringBuilder::toString))
                    .containsExactlyElementsOf(answers.stream()
                            .map(TextGenerator.Continuation::text)
                            .toList());
        }
        assertThat(first).isEmpty();
        assertThat(generator.answers(List.of(KING), DRAWN.withN(2)).get(0).get(0))
                .isEqualTo(generator.generate(List.of(KING), DRAWN).get(0));
        assertThatThrownBy(() -> generator.generate(List.of(KING), DRAWN.withN(2)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("call answers");
    }

    @Test
    void logProbabilitiesComeWhereTheyAreAskedFor() {
        TextGenerator.Options asked = DRAWN.withLogProbs(true).withMaxNewTokens(8);
        TextGenerator.Continuation said =
                generator.generate(List.of(KING), asked).get(0);
        assertThat(said.logProbs()).hasSameSizeAs(said.ids()).allMatch(logProb -> logProb < 0);
        assertThat(generator.generate(List.of(KING), DRAWN).get(0).logProbs()).isNull();
    }

    /** Rows of many lengths, more than go on at once, in a cache that has room for few. */
    @Test
    void rowsComeInOrderAndAsIfAlone() throws IOException {
        StringBuilder rows = new StringBuilder();
        List<String> prompts = new ArrayList<>();
        for (int i = 0; i < 13; i++) {
            prompts.add("Once upon a time " + "there was a ".repeat(i * 5 % 7) + (char) ('a' + i));
            rows.append("{\"prompt\": \"")
                    .append(prompts.get(i))
                    .append("\", \"id\": ")
                    .append(i)
                    .append("}\n");
        }
        Path data = Files.writeString(dir.resolve("rows.jsonl"), rows);
        TextGenerator.Options few = DRAWN.withBatchSize(3).withCacheBytes(600_000);
        List<Object> ids = new ArrayList<>();
        List<TextGenerator.Continuation> said = new ArrayList<>();
        generator.generate(data, few, (row, one) -> {
            ids.add(row.get("id"));
            said.add(one);
        });
        assertThat(ids)
                .hasSize(13)
                .isSortedAccordingTo((a, b) -> Integer.compare(((Number) a).intValue(), ((Number) b).intValue()));
        assertThat(said).isEqualTo(generator.generate(prompts, DRAWN));
        assertThatThrownBy(() -> generator.generate(data, few.withCacheBytes(5_000), (row, one) -> {}))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("rows.jsonl, line 1: keys and values of a sequence")
                .hasMessageContaining("the cache may have");
    }

    @Test
    void optionsAreRefusedByName() {
        TextGenerator.Options options = TextGenerator.Options.defaults();
        assertThatThrownBy(() -> options.withMinP(1.1)).hasMessageContaining("min_p must be from 0");
        assertThatThrownBy(() -> options.withRepetitionPenalty(0)).hasMessageContaining("repetition_penalty must be");
        assertThatThrownBy(() -> options.withFrequencyPenalty(Double.NaN)).hasMessageContaining("frequency_penalty");
        assertThatThrownBy(() -> options.withPresencePenalty(Double.POSITIVE_INFINITY))
                .hasMessageContaining("presence_penalty");
        assertThatThrownBy(() -> options.withN(0)).hasMessageContaining("n must be at least 1");
        assertThatThrownBy(() -> options.withBeams(0)).hasMessageContaining("num_beams must be at least 2");
        assertThatThrownBy(() -> options.withLengthPenalty(2))
                .hasMessageContaining("length_penalty is of a beam search");
        assertThatThrownBy(() -> options.withBatchSize(0)).hasMessageContaining("batch_size");
        assertThatThrownBy(() -> options.withCacheBytes(-1)).hasMessageContaining("cache");
        assertThatThrownBy(() -> options.withN(2).check()).hasMessageContaining("n must be 1 where the likeliest");
        assertThatThrownBy(() -> options.withBeams(2).withTemperature(1).check())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("temperature beside num_beams");
        options.withN(2).withTemperature(1).check();
        options.withBeams(3).withBeams(1).withTemperature(1).check();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"do_sample\": true, \"temperature\": 0.6, \"top_k\": 3, \"top_p\": 0.9, \"min_p\": 0.05} | drawn",
                "{\"temperature\": 0.6, \"pad_token_id\": 0, \"cache_implementation\": \"hybrid\"}           | greedy",
                "{\"num_beams\": 3, \"early_stopping\": \"never\", \"length_penalty\": 0.5}                  | searched",
            })
    void theModelsOwnSettingsAreTransformers(String file, String expected) throws IOException {
        Path model = model(file);
        try (TextGenerator own = TextGenerator.open(model, null)) {
            TextGenerator.Options plain = TextGenerator.Options.defaults().withMaxNewTokens(20);
            TextGenerator.Options options = switch (expected) {
                case "drawn" ->
                    plain.withTemperature(0.6).withTopK(3).withTopP(0.9).withMinP(0.05);
                case "greedy" -> plain;
                default ->
                    plain.withBeams(3)
                            .withEarlyStopping(TextGenerator.EarlyStopping.NEVER)
                            .withLengthPenalty(0.5);
            };
            List<String> prompts = Collections.nCopies(3, KING);
            assertThat(own.generate(prompts, own.suggestedOptions(note -> {}).withMaxNewTokens(20)))
                    .isEqualTo(generator.generate(prompts, options));
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"no_repeat_ngram_size\": 3}               | no_repeat_ngram_size 3 is not supported",
                "{\"typical_p\": 0.9}                        | typical_p 0.9 is not supported",
                "{\"do_sample\": true, \"num_beams\": 2}     | num_beams must be 1 beside do_sample",
                "{\"do_sample\": true, \"temperature\": 0}   | temperature must be a number",
                "{\"early_stopping\": \"soon\"}              | early_stopping must be true, false or",
            })
    void whatIsNotDoneOfThemIsRefusedByName(String file, String message) throws IOException {
        try (TextGenerator own = TextGenerator.open(model(file), null)) {
            assertThatThrownBy(() -> own.suggestedOptions(note -> {}))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("generation_config.json")
                    .hasMessageContaining(message);
            assertThat(own.generate(
                            List.of(KING), TextGenerator.Options.defaults().withMaxNewTokens(2)))
                    .as("nobody asked for the file's settings")
                    .hasSize(1);
        }
    }

    private Path model(String generationConfig) throws IOException {
        for (String name : List.of("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")) {
            if (Files.exists(STORIES.resolve(name))) {
                Files.copy(STORIES.resolve(name), dir.resolve(name));
            }
        }
        Files.writeString(dir.resolve("generation_config.json"), generationConfig);
        return dir;
    }
}
