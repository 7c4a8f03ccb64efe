package org.peft4j.data.tokenizer;

import static org.peft4j.data.tokenizer.Components.json;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Judges {@code normalizer}: what happens to a text before it is split. */
final class Normalizers {
    /** Characters that one character can become by Unicode's compatibility forms (U+FDFA). */
    private static final int COMPATIBLE = 18;

    /** The same by its canonical forms, or with blanks around it, or in lower case. */
    private static final int CANONICAL = 4;

    private final TextLimit limits;

    private Normalizers(TextLimit limits) {
        this.limits = limits;
    }

    static Map<String, @Nullable Object> judge(Part normalizer, TextLimit limits) {
        Map<String, @Nullable Object> json = new Normalizers(limits).judge(normalizer, 0);
        if (limits.growth() > 1000) {
            throw normalizer.bad("normalizer can make more than 1000 characters of one (" + limits.growth() + ")");
        }
        return json;
    }

    private Map<String, @Nullable Object> judge(Part n, int depth) {
        Components.checkDepth(n, depth);
        String type = n.at("type").text();
        switch (type) {
            case "BertNormalizer" -> {
                n.only("type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase");
                limits.growUnicode(CANONICAL);
                return json(
                        type,
                        "clean_text",
                        n.at("clean_text").bool(),
                        "handle_chinese_chars",
                        n.at("handle_chinese_chars").bool(),
                        "strip_accents",
                        n.find("strip_accents").map(Part::bool).orElse(null),
                        "lowercase",
                        n.at("lowercase").bool());
            }
            case "Strip" -> {
                n.only("type", "strip_left", "strip_right");
                return json(
                        type,
                        "strip_left",
                        n.at("strip_left").bool(),
                        "strip_right",
                        n.at("strip_right").bool());
            }
            case "NFC", "NFD", "NFKC", "NFKD" -> {
                n.only("type");
                limits.growUnicode(type.contains("K") ? COMPATIBLE : CANONICAL);
                return json(type);
            }
            case "Lowercase", "StripAccents", "Nmt" -> {
                n.only("type");
                limits.growUnicode(type.equals("Lowercase") ? CANONICAL : 1);
                return json(type);
            }
            case "ByteLevel" -> {
                n.only("type");
                limits.grow(4);
                return json(type);
            }
            case "Sequence" -> {
                n.only("type", "normalizers");
                return json(type, "normalizers", Components.judgeAll(n.at("normalizers"), depth, this::judge));
            }
            case "Precompiled" -> {
                n.only("type", "precompiled_charsmap");
                limits.growUnicode(
                        CharacterMap.read(n.at("precompiled_charsmap")).growth());
                return json(
                        type,
                        "precompiled_charsmap",
                        n.at("precompiled_charsmap").text());
            }
            case "Replace" -> {
                n.only("type", "pattern", "content");
                String content = n.at("content").text();
                limits.grow(content.length());
                return json(type, "pattern", Patterns.judge(n.at("pattern"), limits), "content", content);
            }
            case "Prepend" -> {
                n.only("type", "prepend");
                if (n.at("prepend").textNotEmpty().length() > 100) {
                    throw n.at("prepend").must("at most 100 characters");
                }
                return json(type, "prepend", n.at("prepend").text());
            }
            default ->
                throw Components.unknown(
                        n,
                        "BertNormalizer",
                        "Strip",
                        "NFC",
                        "NFD",
                        "NFKC",
                        "NFKD",
                        "Lowercase",
                        "StripAccents",
                        "Nmt",
                        "ByteLevel",
                        "Sequence",
                        "Precompiled",
                        "Replace",
                        "Prepend");
        }
    }
}
