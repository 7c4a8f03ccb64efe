package org.peft4j.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.data.TextTokenizer.WordTokens;
import org.peft4j.data.TokenStream;
import org.peft4j.io.ModelDirectory;

/** Pairs, words and texts of tokens are those of transformers ({@code build-scripts/fixtures/tokenizer_uses.py}). */
@SuppressWarnings("unchecked")
class TokenizerUsesTest {
    private static final int LONG = 100_000;

    @TempDir
    Path directory;

    static Stream<Arguments> pairs() throws IOException {
        return variants("pairs");
    }

    static Stream<Arguments> words() throws IOException {
        return variants("words");
    }

    static Stream<Arguments> decoded() throws IOException {
        return variants("decoded");
    }

    private static Stream<Arguments> variants(String use) throws IOException {
        return ((List<Map<String, Object>>) TinyModel.fixture("uses").get(use))
                .stream().map(variant -> Arguments.of(variant.get("name"), variant));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource
    void pairs(String name, Map<String, Object> variant) throws IOException {
        ModelDirectory model = model(variant);
        List<String> texts = TinyModel.texts();
        for (List<Object> one : (List<List<Object>>) variant.get("cases")) {
            String text = texts.get((Integer) one.get(0));
            String pair = texts.get((Integer) one.get(1));
            Integer limit = (Integer) one.get(2);
            try (TextTokenizer tokenizer = TextTokenizer.open(model, limit == null ? LONG : limit)) {
                Tokens tokens = tokenizer.encodePair(text, pair);
                assertThat(tokens.tokens()).as("%s", one).containsExactly(ints(one.get(3)));
                int[] types = tokens.types() == null ? new int[tokens.tokens().length] : tokens.types();
                assertThat(types).as("%s", one).containsExactly(ints(one.get(4)));
                if (limit == null) {
                    assertThat(tokens.cut()).isFalse();
                } else {
                    try (TextTokenizer whole = TextTokenizer.open(model, LONG)) {
                        boolean longer = whole.encodePair(text, pair).tokens().length > limit;
                        assertThat(tokens.cut()).as("%s", one).isEqualTo(longer);
                    }
                }
                assertThat(tokenizer.encodePairs(List.of(text), List.of(pair), i -> "row"))
                        .containsExactly(tokens);
            }
        }
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("pairs")
    void textsWithoutSpecialTokens(String name, Map<String, Object> variant) throws IOException {
        List<String> texts = TinyModel.texts();
        List<Object> plain = (List<Object>) variant.get("plain");
        boolean left = "left".equals(((Map<String, Object>) variant.get("config")).get("truncation_side"));
        try (TextTokenizer whole = TextTokenizer.open(model(variant), LONG);
                TextTokenizer cutting = TextTokenizer.open(model(variant), 6)) {
            List<Tokens> all = whole.encodePlain(texts, i -> "text " + i);
            for (int i = 0; i < texts.size(); i++) {
                int[] expected = ints(plain.get(i));
                assertThat(all.get(i)).isEqualTo(new Tokens(expected, null, false));
                int kept = Math.min(6, expected.length);
                int from = left ? expected.length - kept : 0;
                assertThat(cutting.encodePlain(texts.get(i)))
                        .isEqualTo(
                                new Tokens(Arrays.copyOfRange(expected, from, from + kept), null, expected.length > 6));
            }
        }
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource
    void words(String name, Map<String, Object> variant) throws IOException {
        ModelDirectory model = model(variant);
        List<List<String>> texts =
                (List<List<String>>) TinyModel.fixture("uses").get("words_of");
        for (List<Object> one : (List<List<Object>>) variant.get("cases")) {
            List<String> words = texts.get((Integer) one.get(0));
            Integer limit = (Integer) one.get(1);
            try (TextTokenizer tokenizer = TextTokenizer.open(model, limit == null ? LONG : limit);
                    TextTokenizer whole = TextTokenizer.open(model, LONG)) {
                WordTokens tokens = tokenizer.encodeWords(words);
                assertThat(tokens.tokens()).as("%s", one).containsExactly(ints(one.get(2)));
                assertThat(tokens.wordOf()).as("%s", one).containsExactly(ints(one.get(3)));
                Set<Integer> lost = distinct(whole.encodeWords(words).wordOf());
                lost.removeAll(distinct(tokens.wordOf()));
                assertThat(tokens.cutWords()).as("%s", one).isEqualTo(lost.size());
                assertThat(tokenizer.encodeWords(List.of(words), i -> "row")).containsExactly(tokens);
            }
        }
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource
    void decoded(String name, Map<String, Object> variant) throws IOException {
        try (TextTokenizer tokenizer = TextTokenizer.open(model(variant), LONG)) {
            for (List<Object> one : (List<List<Object>>) variant.get("cases")) {
                int[] ids = ints(one.get(0));
                assertThat(tokenizer.decode(ids, false)).as("%s", one).isEqualTo(one.get(1));
                assertThat(tokenizer.decode(ids, true)).as("%s", one).isEqualTo(one.get(2));
                for (boolean skip : new boolean[] {false, true}) {
                    TokenStream stream = tokenizer.stream(skip);
                    StringBuilder text = new StringBuilder();
                    for (int id : ids) {
                        text.append(stream.feed(id));
                        assertThat(tokenizer.decode(ids, skip)).startsWith(text);
                    }
                    assertThat(text.append(stream.end())).hasToString(tokenizer.decode(ids, skip));
                }
            }
        }
    }

    private static Set<Integer> distinct(int[] numbers) {
        return new HashSet<>(Arrays.stream(numbers).boxed().toList());
    }

    private ModelDirectory model(Map<String, Object> variant) throws IOException {
        Map<String, @Nullable Object> tokenizer = new HashMap<>(TinyModel.fixture((String) variant.get("base")));
        tokenizer.putAll((Map<String, @Nullable Object>) variant.get("changes"));
        return TinyModel.open(
                directory, Map.of("tokenizer.json", tokenizer, "tokenizer_config.json", variant.get("config")));
    }

    private static int[] ints(@Nullable Object numbers) {
        return ((List<Integer>) numbers).stream().mapToInt(i -> i).toArray();
    }
}
