package org.peft4j.data.tokenizer;

import static org.peft4j.data.tokenizer.Components.json;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Judges {@code pre_tokenizer}: how a text is split before the model sees it. */
final class PreTokenizers {
    private static final String[] BEHAVIORS = {
        "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"
    };

    private final TextLimit limits;

    private PreTokenizers(TextLimit limits) {
        this.limits = limits;
    }

    static Map<String, @Nullable Object> judge(Part preTokenizer, TextLimit limits) {
        return new PreTokenizers(limits).judge(preTokenizer, 0);
    }

    private Map<String, @Nullable Object> judge(Part p, int depth) {
        Components.checkDepth(p, depth);
        String type = p.at("type").text();
        switch (type) {
            case "BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts" -> {
                p.only("type");
                return json(type);
            }
            case "ByteLevel" -> {
                return byteLevel(p);
            }
            case "Metaspace" -> {
                return metaspace(p);
            }
            case "CharDelimiterSplit" -> {
                p.only("type", "delimiter");
                return json(type, "delimiter", character(p.at("delimiter")));
            }
            case "Split" -> {
                p.only("type", "pattern", "behavior", "invert");
                return json(
                        type,
                        "pattern",
                        Patterns.judge(p.at("pattern"), limits),
                        "behavior",
                        p.at("behavior").oneOf(BEHAVIORS),
                        "invert",
                        p.at("invert").bool());
            }
            case "Punctuation" -> {
                p.only("type", "behavior");
                return json(
                        type,
                        "behavior",
                        p.find("behavior").map(b -> b.oneOf(BEHAVIORS)).orElse("Isolated"));
            }
            case "Digits" -> {
                p.only("type", "individual_digits");
                return json(type, "individual_digits", p.at("individual_digits").bool());
            }
            case "Sequence" -> {
                p.only("type", "pretokenizers");
                return json(type, "pretokenizers", Components.judgeAll(p.at("pretokenizers"), depth, this::judge));
            }
            default ->
                throw Components.unknown(
                        p,
                        "BertPreTokenizer",
                        "Whitespace",
                        "WhitespaceSplit",
                        "UnicodeScripts",
                        "ByteLevel",
                        "Metaspace",
                        "CharDelimiterSplit",
                        "Split",
                        "Punctuation",
                        "Digits",
                        "Sequence");
        }
    }

    static Map<String, @Nullable Object> byteLevel(Part p) {
        p.only("type", "add_prefix_space", "trim_offsets", "use_regex");
        return json(
                "ByteLevel",
                "add_prefix_space",
                p.at("add_prefix_space").bool(),
                "trim_offsets",
                p.at("trim_offsets").bool(),
                "use_regex",
                p.bool("use_regex", true));
    }

    static Map<String, @Nullable Object> metaspace(Part p) {
        p.only("type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep");
        String scheme = p.find("prepend_scheme")
                .map(s -> s.oneOf("first", "never", "always"))
                .orElse("always");
        if (p.find("add_prefix_space").isPresent() && !p.at("add_prefix_space").bool()) {
            if (p.find("prepend_scheme").isPresent() && !scheme.equals("never")) {
                throw p.bad(p.where() + " has add_prefix_space false, but prepend_scheme " + scheme);
            }
            scheme = "never"; // what the old key means
        }
        return json(
                "Metaspace",
                "replacement",
                character(p.at("replacement")),
                "prepend_scheme",
                scheme,
                "split",
                p.bool("split", true));
    }

    private static String character(Part part) {
        String text = part.text();
        if (text.codePointCount(0, text.length()) != 1) {
            throw part.must("one character");
        }
        return text;
    }
}
