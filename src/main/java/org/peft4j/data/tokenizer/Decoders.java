package org.peft4j.data.tokenizer;

import java.util.List;
import org.peft4j.error.MalformedFileException;

/** Judges {@code decoder}: how tokens become text. The library does not get it; {@link TokenDecoder} does what it says. */
final class Decoders {
    private Decoders() {}

    /** The decoders one after the other. */
    static List<DecodeStep> judge(Part decoder) {
        return judge(decoder, 0);
    }

    private static List<DecodeStep> judge(Part d, int depth) {
        Components.checkDepth(d, depth);
        if (d.at("type").text().equals("Sequence")) {
            d.only("type", "decoders");
            return d.at("decoders").list().stream()
                    .flatMap(each -> judge(each, depth + 1).stream())
                    .toList();
        }
        return List.of(step(d));
    }

    private static DecodeStep step(Part d) {
        switch (d.at("type").text()) {
            case "ByteLevel" -> {
                PreTokenizers.byteLevel(d);
                return DecodeSteps.byteLevel();
            }
            case "Metaspace" -> {
                boolean prepends = !"never".equals(PreTokenizers.metaspace(d).get("prepend_scheme"));
                return DecodeSteps.metaspace(character(d.at("replacement")), prepends);
            }
            case "WordPiece" -> {
                d.only("type", "prefix", "cleanup");
                return DecodeSteps.wordPiece(
                        d.at("prefix").text(), d.at("cleanup").bool());
            }
            case "BPEDecoder" -> {
                d.only("type", "suffix");
                return DecodeSteps.suffix(d.at("suffix").text());
            }
            case "CTC" -> {
                d.only("type", "pad_token", "word_delimiter_token", "cleanup");
                return DecodeSteps.ctc(
                        d.at("pad_token").text(),
                        d.at("word_delimiter_token").text(),
                        d.at("cleanup").bool());
            }
            case "Replace" -> {
                d.only("type", "pattern", "content");
                Patterns.judge(d.at("pattern"), new TextLimit());
                return replace(d);
            }
            case "Strip" -> {
                d.only("type", "content", "start", "stop");
                return DecodeSteps.strip(
                        character(d.at("content")),
                        d.at("start").integer(0, Integer.MAX_VALUE),
                        d.at("stop").integer(0, Integer.MAX_VALUE));
            }
            case "Fuse" -> {
                d.only("type");
                return DecodeSteps.fuse();
            }
            case "ByteFallback" -> {
                d.only("type");
                return DecodeSteps.byteFallback();
            }
            default ->
                throw Components.unknown(
                        d,
                        "ByteLevel",
                        "Metaspace",
                        "WordPiece",
                        "BPEDecoder",
                        "CTC",
                        "Replace",
                        "Strip",
                        "Fuse",
                        "ByteFallback",
                        "Sequence");
        }
    }

    private static DecodeStep replace(Part d) {
        String content = d.at("content").text();
        Part pattern = d.at("pattern");
        if (pattern.find("String").isPresent()) {
            return DecodeSteps.replace(pattern.at("String").text(), content);
        }
        MalformedFileException refused = d.bad(d.where()
                + " replaces by a regular expression, which is not done; this tokenizer makes no text of tokens");
        return (next, pieces) -> {
            throw refused; // of interest only to those who decode
        };
    }

    private static int character(Part part) {
        String text = part.textNotEmpty();
        if (text.codePointCount(0, text.length()) != 1) {
            throw part.must("one character");
        }
        return text.codePointAt(0);
    }
}
