package org.peft4j.data.tokenizer;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TokenStream;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.Mutations;

/**
 * Damages tokenizer files and tokenizes odd texts with those that still open. To be run in a process of its own, since
 * what is sought would end it; the file that was tried last stays.
 *
 * <pre>TokenizerFuzz SEED COUNT DIRECTORY [FIRST]</pre>
 */
public final class TokenizerFuzz {
    private static final List<String> BASES = List.of("wordpiece", "bpe", "unigram", "metaspace", "wordlevel");
    private static final List<Object> VALUES = new ArrayList<>(Arrays.asList(
            "",
            " ",
            "a",
            "▁",
            "##",
            "[CLS]",
            "[UNK]",
            "é",
            "\ud83d\ude42",
            "\ud800",
            "\u0000",
            "Sequence",
            "Regex",
            "String",
            "(",
            "[a",
            "a*",
            "(?=a)",
            "\\p{L}+",
            "\\s+(?!\\S)",
            ".",
            "A",
            "B",
            "Left",
            "x".repeat(5000),
            0,
            1,
            -1,
            2,
            3,
            255,
            300,
            65536,
            Integer.MAX_VALUE,
            2147483648L,
            4294967295L,
            4294967296L,
            Long.MAX_VALUE,
            Long.MIN_VALUE,
            0.5,
            -0.0,
            1e300,
            1e-300,
            true,
            false,
            List.of(),
            Map.of(),
            List.of(List.of(List.of())),
            Map.of("type", "Sequence")));

    private static final List<String> CONTENTS = List.of(
            " ",
            "  ",
            "a b",
            "the",
            "é",
            "e\u0301",
            "\u0301",
            "\u3000",
            "▁",
            "▁the",
            " the",
            "the ",
            "\ud83d\ude42",
            "日",
            "\t",
            "İ",
            "ﬁ",
            "s",
            "\u0000",
            "\u200b",
            "!",
            "new word");

    private static final List<Map<String, ?>> COMPONENTS = List.of(
            Map.of("type", "NFC"),
            Map.of("type", "NFKD"),
            Map.of("type", "Lowercase"),
            Map.of("type", "StripAccents"),
            Map.of("type", "Nmt"),
            Map.of("type", "ByteLevel"),
            Map.of("type", "Strip", "strip_left", true, "strip_right", true),
            Map.of("type", "Prepend", "prepend", "▁"),
            Map.of("type", "Whitespace"),
            Map.of("type", "UnicodeScripts"),
            Map.of("type", "Replace", "pattern", Map.of("String", "e"), "content", ""),
            Map.of("type", "Replace", "pattern", Map.of("Regex", "\\s+"), "content", ""),
            Map.of("type", "Replace", "pattern", Map.of("Regex", "."), "content", ""),
            Map.of("type", "Replace", "pattern", Map.of("String", " "), "content", "\ud83d\ude42\ud83d\ude42"),
            Map.of("type", "Split", "pattern", Map.of("Regex", "\\p{L}"), "behavior", "Removed", "invert", true),
            Map.of("type", "Split", "pattern", Map.of("String", "e"), "behavior", "MergedWithNext", "invert", false),
            Map.of(
                    "type",
                    "Split",
                    "pattern",
                    Map.of("Regex", "\\s*[\\r\\n]+|[^s]"),
                    "behavior",
                    "Contiguous",
                    "invert",
                    true),
            Map.of("type", "CharDelimiterSplit", "delimiter", "é"),
            Map.of("type", "Digits", "individual_digits", false),
            Map.of("type", "Punctuation", "behavior", "MergedWithPrevious"),
            Map.of("type", "ByteLevel", "add_prefix_space", true, "trim_offsets", true, "use_regex", false),
            Map.of("type", "Metaspace", "replacement", "é", "prepend_scheme", "first", "split", false),
            Map.of("type", "BertNormalizer", "clean_text", true, "handle_chinese_chars", true, "lowercase", true));

    private static final List<Map<String, ?>> NORMALIZERS = COMPONENTS.stream()
            .filter(c -> "NFC NFKD Lowercase StripAccents Nmt ByteLevel Strip Prepend Replace BertNormalizer"
                    .contains(c.get("type").toString()))
            .filter(c -> !c.containsKey("use_regex"))
            .toList();

    private static final List<Map<String, ?>> PRE_TOKENIZERS = COMPONENTS.stream()
            .filter(c -> "Whitespace UnicodeScripts Split CharDelimiterSplit Digits Punctuation ByteLevel Metaspace"
                    .contains(c.get("type").toString()))
            .filter(c -> c.size() > 1 || !c.get("type").equals("ByteLevel"))
            .toList();

    /** Of files whose number is a multiple of it the long texts are tried, too; it has no divisor with the number of bases. */
    private static final int EACH_LONG = 11;

    private static final List<String> LONG_TEXTS = List.of(
            "the shop é ".repeat(600),
            "日本語".repeat(2000),
            "a".repeat(5000),
            " ".repeat(5000) + "x\n" + "\n ".repeat(3000));

    private final Random random;

    private TokenizerFuzz(long seed) {
        random = new Random(seed);
    }

    public static void main(String[] args) throws Exception {
        long seed = Long.parseLong(args[0]);
        int count = Integer.parseInt(args[1]);
        Path directory = Path.of(args[2]);
        int first = args.length > 3 ? Integer.parseInt(args[3]) : 0;
        Map<String, Map<String, @Nullable Object>> bases = new HashMap<>();
        for (String base : BASES) {
            bases.put(base, TinyModel.fixture(base));
        }
        List<String> texts = new ArrayList<>(TinyModel.texts());
        texts.add("\ud800 half \udc00");
        List<String> withLong = new ArrayList<>(texts);
        withLong.addAll(LONG_TEXTS); // they take most of the time, so not for each file
        int opened = 0;
        for (int i = first; i < first + count; i++) {
            TokenizerFuzz fuzz = new TokenizerFuzz(seed * 1_000_003 + i);
            String base = BASES.get(i % BASES.size());
            Path file = directory.resolve("tokenizer.json");
            Files.write(file, fuzz.damaged(bases.get(base)));
            try {
                opened += tryOne(file, i % EACH_LONG == 0 ? withLong : texts) ? 1 : 0;
            } catch (Throwable e) {
                System.out.println("mutation " + i + " of seed " + seed + ", a " + base + ", gave " + e);
                e.printStackTrace(System.out);
                System.exit(3);
            }
        }
        System.out.println("opened " + opened + " of " + count);
    }

    /** Whether it opened; then tokens of a piece are checked against those of the whole text. */
    private static boolean tryOne(Path file, List<String> texts) throws Exception {
        try (TextTokenizer whole = TextTokenizer.open(file, 10_000_000);
                TextTokenizer cutting = TextTokenizer.open(file, 24)) {
            TokenizerDocument document = TokenizerFiles.read(file).document();
            for (String text : texts) {
                int[] all;
                try {
                    all = whole.encode(text);
                } catch (MalformedFileException e) {
                    continue;
                }
                TextTokenizer.Tokens cut = cutting.encodeWithCut(text);
                if (cut.cut() != (all.length > 24)) {
                    throw new AssertionError("cut is " + cut.cut() + " for " + all.length + " tokens of " + text);
                }
                int before = document.around(new int[0]).length == 0 ? 0 : beforeText(document);
                int after = document.specialTokens() - before;
                int room = Math.min(24, all.length) - before - after;
                int start = document.cutsLeft() ? all.length - after - room : before;
                int[] expected = document.around(Arrays.copyOfRange(all, start, start + room));
                if (!Arrays.equals(expected, cut.tokens())) {
                    throw new AssertionError("a piece gives " + Arrays.toString(cut.tokens()) + ", the whole "
                            + Arrays.toString(expected) + " of " + text);
                }
            }
            tryPairsAndWords(cutting, texts);
            tryDecoding(whole, texts);
            return true;
        } catch (MalformedFileException | ConfigException e) {
            return false;
        }
    }

    private static void tryPairsAndWords(TextTokenizer tokenizer, List<String> texts) {
        for (int i = 0; i < texts.size(); i++) {
            String text = texts.get(i);
            try {
                int[] tokens = tokenizer
                        .encodePair(text, texts.get(texts.size() - 1 - i))
                        .tokens();
                TextTokenizer.WordTokens words = tokenizer.encodeWords(List.of(text.split(" ", 50)));
                if (tokens.length > 24
                        || words.tokens().length > 24
                        || words.wordOf().length != words.tokens().length) {
                    throw new AssertionError(tokens.length + " tokens of a pair, " + words + " of words of " + text);
                }
            } catch (MalformedFileException | ConfigException e) {
                // refused, as it may be
            }
        }
    }

    private static void tryDecoding(TextTokenizer tokenizer, List<String> texts) {
        int[] numbers = {0, 1, 2, 3, 4, 250, 255, 300, -1, Integer.MAX_VALUE, Integer.MIN_VALUE};
        List<int[]> rows = new ArrayList<>();
        for (int number : numbers) {
            rows.add(new int[] {number});
        }
        for (String text : texts.subList(0, 20)) {
            try {
                rows.add(tokenizer.encode(text));
            } catch (MalformedFileException e) {
                continue;
            }
        }
        for (int[] row : rows) {
            try {
                TokenStream stream = tokenizer.stream(true);
                StringBuilder text = new StringBuilder();
                for (int id : row) {
                    text.append(stream.feed(id));
                }
                if (!text.append(stream.end()).toString().equals(tokenizer.decode(row, true))) {
                    throw new AssertionError("the stream gives '" + text + "' of " + Arrays.toString(row));
                }
            } catch (MalformedFileException | ConfigException e) {
                // refused, as it may be
            }
        }
    }

    private static int beforeText(TokenizerDocument document) {
        int[] around = document.around(new int[] {-1});
        int before = 0;
        while (around[before] != -1) {
            before++;
        }
        return before;
    }

    private byte[] damaged(Map<String, @Nullable Object> base) throws Exception {
        if (random.nextInt(4) == 0) {
            byte[] bytes = Json.write(base).getBytes(StandardCharsets.UTF_8);
            return new Mutations(random.nextLong()).mutate(bytes);
        }
        if (random.nextInt(3) == 0) {
            return write(otherComponents(base)).getBytes(StandardCharsets.UTF_8);
        }
        Object json = base;
        for (int i = random.nextInt(2); i >= 0; i--) {
            json = changed(json, 0);
        }
        return write(json).getBytes(StandardCharsets.UTF_8);
    }

    /** Whole in form, but with components and added tokens that nobody would put together. */
    private Map<String, @Nullable Object> otherComponents(Map<String, @Nullable Object> base) {
        Map<String, @Nullable Object> copy = new LinkedHashMap<>(base);
        copy.put("normalizer", sequence(NORMALIZERS, "normalizers", copy.get("normalizer")));
        copy.put("pre_tokenizer", sequence(PRE_TOKENIZERS, "pretokenizers", copy.get("pre_tokenizer")));
        if (random.nextBoolean()) {
            List<Object> tokens = new ArrayList<>((List<?>) copy.get("added_tokens"));
            Map<String, Object> token = new LinkedHashMap<>();
            token.put("id", ((Map<?, ?>) tokens.get(0)).get("id"));
            token.put("content", random.nextBoolean() ? "[PAD]" : "a");
            for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized", "special")) {
                token.put(flag, random.nextBoolean());
            }
            tokens.set(random.nextInt(tokens.size()), token);
            Map<?, ?> model = (Map<?, ?>) copy.get("model");
            int next = model.get("vocab") instanceof Map<?, ?> map ? map.size() : ((List<?>) model.get("vocab")).size();
            Map<String, Object> more = new LinkedHashMap<>(token);
            more.put("id", next);
            more.put("content", CONTENTS.get(random.nextInt(CONTENTS.size())));
            if (random.nextBoolean()) {
                tokens = new ArrayList<>((List<?>) copy.get("added_tokens"));
            }
            tokens.removeIf(t -> ((Integer) ((Map<?, ?>) t).get("id")) >= next);
            tokens.add(more);
            copy.put("added_tokens", tokens);
        }
        copy.put("truncation", Map.of("direction", random.nextBoolean() ? "Left" : "Right"));
        return copy;
    }

    private @Nullable Object sequence(List<Map<String, ?>> some, String members, @Nullable Object old) {
        if (random.nextInt(4) == 0) {
            return old;
        }
        List<Object> list = new ArrayList<>();
        for (int i = random.nextInt(4); i > 0; i--) {
            list.add(old != null && random.nextInt(4) == 0 ? old : some.get(random.nextInt(some.size())));
        }
        return Map.of("type", "Sequence", members, list);
    }

    private static String write(@Nullable Object json) throws Exception {
        return new ObjectMapper().writeValueAsString(json);
    }

    /** A copy with one value changed: replaced, removed, doubled, swapped, or wrapped; the large vocabulary rarely. */
    private @Nullable Object changed(@Nullable Object value, int depth) {
        boolean here = random.nextInt(4) == 0 && depth > 0;
        if (value instanceof Map<?, ?> map && !map.isEmpty() && !here) {
            Map<Object, @Nullable Object> copy = new LinkedHashMap<>(map);
            List<Object> keys = new ArrayList<>(map.keySet());
            Object key = keys.get(random.nextInt(keys.size()));
            switch (random.nextInt(depth == 0 ? 12 : 5)) {
                case 0 -> copy.remove(key);
                case 1 -> copy.put(keys.get(random.nextInt(keys.size())), copy.get(key));
                case 2 -> {
                    copy.put(String.valueOf(VALUES.get(random.nextInt(VALUES.size()))), copy.remove(key));
                }
                default -> copy.put(key, changed(copy.get(key), depth + 1));
            }
            return copy;
        }
        if (value instanceof List<?> list && !list.isEmpty() && !here) {
            List<@Nullable Object> copy = new ArrayList<>(list);
            int at = random.nextInt(copy.size());
            switch (random.nextInt(6)) {
                case 0 -> copy.remove(at);
                case 1 -> copy.add(random.nextInt(copy.size() + 1), copy.get(at));
                case 2 -> copy.add(at, COMPONENTS.get(random.nextInt(COMPONENTS.size())));
                default -> copy.set(at, changed(copy.get(at), depth + 1));
            }
            return copy;
        }
        return switch (random.nextInt(8)) {
            case 0 -> null;
            case 1, 2 -> COMPONENTS.get(random.nextInt(COMPONENTS.size()));
            case 3 -> {
                Object deep = value;
                String members = List.of("normalizers", "pretokenizers", "decoders", "processors")
                        .get(random.nextInt(4));
                for (int i = random.nextInt(20); i >= 0; i--) {
                    deep = random.nextInt(4) == 0 ? listOf(deep) : Map.of("type", "Sequence", members, listOf(deep));
                }
                yield deep;
            }
            case 4 -> {
                List<Object> wrapped = listOf(value);
                wrapped.add(COMPONENTS.get(random.nextInt(COMPONENTS.size())));
                yield new LinkedHashMap<>(
                        Map.of("type", "Sequence", random.nextBoolean() ? "normalizers" : "pretokenizers", wrapped));
            }
            default ->
                value instanceof String text && random.nextBoolean()
                        ? new String(
                                new Mutations(random.nextLong()).mutate(text.getBytes(StandardCharsets.UTF_8)),
                                StandardCharsets.UTF_8)
                        : VALUES.get(random.nextInt(VALUES.size()));
        };
    }

    private static List<Object> listOf(@Nullable Object value) {
        List<Object> list = new ArrayList<>();
        list.add(value);
        return list;
    }
}
