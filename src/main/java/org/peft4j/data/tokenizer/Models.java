package org.peft4j.data.tokenizer;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Judges {@code model}: WordPiece, BPE, Unigram or WordLevel. */
final class Models {
    private static final double MAX_SCORE = 1e9;

    /** A model that was understood. */
    record Judged(Map<String, @Nullable Object> json, Vocabulary vocabulary) {}

    private Models() {}

    static Judged judge(Part model) {
        String type = type(model);
        return switch (type) {
            case "WordPiece" -> wordPiece(model);
            case "BPE" -> bpe(model);
            case "Unigram" -> unigram(model);
            case "WordLevel" -> wordLevel(model);
            default -> throw model.at("type").must("one of [WordPiece, BPE, Unigram, WordLevel]");
        };
    }

    /** Old files do not name the type; then the members show it. */
    static String type(Part model) {
        if (model.find("type").isPresent()) {
            return model.at("type").text();
        }
        if (model.find("merges").isPresent()) {
            return "BPE";
        }
        if (model.find("vocab").isPresent() && model.at("vocab").value() instanceof List<?>) {
            return "Unigram";
        }
        if (model.find("continuing_subword_prefix").isPresent()) {
            return "WordPiece";
        }
        throw model.bad("model must have a type, one of [WordPiece, BPE, Unigram, WordLevel]");
    }

    private static Judged wordPiece(Part model) {
        model.only("type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab");
        Map<String, Integer> vocab = vocab(model.at("vocab"));
        Map<String, @Nullable Object> json = new LinkedHashMap<>();
        json.put("type", "WordPiece");
        json.put("unk_token", known(model.at("unk_token"), vocab));
        json.put(
                "continuing_subword_prefix",
                model.at("continuing_subword_prefix").text());
        json.put(
                "max_input_chars_per_word", model.at("max_input_chars_per_word").integer(0, Integer.MAX_VALUE));
        json.put("vocab", vocab);
        return new Judged(json, new Vocabulary(vocab, vocab.size()));
    }

    private static Judged wordLevel(Part model) {
        model.only("type", "unk_token", "vocab");
        Map<String, Integer> vocab = vocab(model.at("vocab"));
        Map<String, @Nullable Object> json = new LinkedHashMap<>();
        json.put("type", "WordLevel");
        json.put("unk_token", known(model.at("unk_token"), vocab));
        json.put("vocab", vocab);
        return new Judged(json, new Vocabulary(vocab, vocab.size()));
    }

    private static Judged bpe(Part model) {
        model.only(
                "type",
                "dropout",
                "unk_token",
                "continuing_subword_prefix",
                "end_of_word_suffix",
                "fuse_unk",
                "byte_fallback",
                "ignore_merges",
                "vocab",
                "merges");
        if (model.find("dropout").isPresent() && model.at("dropout").number(1) != 0) {
            throw model.bad("model.dropout must be null or 0, got "
                    + model.at("dropout").value() + "; with it the same text gives other tokens each time");
        }
        Map<String, Integer> vocab = vocab(model.at("vocab"));
        String prefix = model.find("continuing_subword_prefix").map(Part::text).orElse("");
        String suffix = model.find("end_of_word_suffix").map(Part::text).orElse("");
        boolean bytes = model.bool("byte_fallback", false);
        if (bytes && !(prefix.isEmpty() && suffix.isEmpty())) {
            throw model.bad("model has byte_fallback together with continuing_subword_prefix or end_of_word_suffix,"
                    + " which the library cannot do");
        }
        Map<String, @Nullable Object> json = new LinkedHashMap<>();
        json.put("type", "BPE");
        json.put("dropout", null);
        json.put(
                "unk_token",
                model.find("unk_token").map(unk -> known(unk, vocab)).orElse(null));
        json.put("continuing_subword_prefix", prefix.isEmpty() ? null : prefix);
        json.put("end_of_word_suffix", suffix.isEmpty() ? null : suffix);
        json.put("fuse_unk", model.bool("fuse_unk", false));
        json.put("byte_fallback", bytes);
        json.put("ignore_merges", model.bool("ignore_merges", false));
        json.put("vocab", vocab);
        json.put("merges", merges(model.at("merges"), vocab, prefix));
        return new Judged(json, new Vocabulary(vocab, vocab.size()));
    }

    private static List<List<String>> merges(Part merges, Map<String, Integer> vocab, String prefix) {
        List<List<String>> pairs = new ArrayList<>();
        for (Part merge : merges.list()) {
            List<String> pair = merge.value() instanceof String
                    ? List.of(merge.text().split(" ", -1))
                    : merge.list().stream().map(Part::text).toList();
            if (pair.size() != 2) {
                throw merge.must("two tokens with a blank between them, or a list of two");
            }
            if (!pair.get(1).startsWith(prefix)) {
                throw merge.bad(merge.where() + ": the second token, '" + pair.get(1)
                        + "', must begin with continuing_subword_prefix '" + prefix + "'");
            }
            String whole = pair.get(0) + pair.get(1).substring(prefix.length());
            for (String token : List.of(pair.get(0), pair.get(1), whole)) {
                if (!vocab.containsKey(token)) {
                    throw merge.bad(merge.where() + " needs the token '" + token + "', which model.vocab lacks");
                }
            }
            pairs.add(pair);
        }
        return pairs;
    }

    private static Judged unigram(Part model) {
        model.only("type", "unk_id", "vocab", "byte_fallback");
        List<List<Object>> pieces = new ArrayList<>();
        Map<String, Integer> ids = new HashMap<>();
        for (Part piece : model.at("vocab").list()) {
            List<Part> pair = piece.list();
            if (pair.size() != 2) {
                throw piece.must("[token, score]");
            }
            String token = pair.get(0).text();
            ids.put(token, pieces.size()); // where one stands twice, its last number counts: so the library has it
            pieces.add(List.of(token, pair.get(1).number(MAX_SCORE)));
        }
        if (pieces.isEmpty()) {
            throw model.bad("model.vocab must have at least the unknown token, it is empty");
        }
        Map<String, @Nullable Object> json = new LinkedHashMap<>();
        json.put("type", "Unigram");
        json.put("unk_id", model.at("unk_id").integer(0, pieces.size() - 1));
        json.put("vocab", pieces);
        json.put("byte_fallback", model.bool("byte_fallback", false));
        return new Judged(json, new Vocabulary(ids, pieces.size()));
    }

    private static Map<String, Integer> vocab(Part vocab) {
        Map<String, Integer> ids = new LinkedHashMap<>();
        Set<Integer> seen = new HashSet<>();
        for (Map.Entry<String, @Nullable Object> entry : vocab.map().entrySet()) {
            String token = new Part(vocab.file(), "a token of " + vocab.where(), entry.getKey()).text();
            Part id = new Part(vocab.file(), vocab.where() + "['" + token + "']", entry.getValue());
            int number = (int) id.integer(0, Vocabulary.MAX_ID);
            if (!seen.add(number)) {
                throw id.bad(id.where() + " must have a number of its own, " + number + " is another token's");
            }
            ids.put(token, number);
        }
        return ids;
    }

    private static String known(Part token, Map<String, Integer> vocab) {
        if (!vocab.containsKey(token.text())) {
            throw token.bad(token.where() + " is '" + token.text() + "', which model.vocab lacks");
        }
        return token.text();
    }
}
