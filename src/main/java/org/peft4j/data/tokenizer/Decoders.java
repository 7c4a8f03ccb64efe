package org.peft4j.data.tokenizer;

/** Judges {@code decoder}: how tokens become text. The library does not get it, since nothing is decoded. */
final class Decoders {
    private Decoders() {}

    static void judge(Part decoder) {
        judge(decoder, 0);
    }

    private static void judge(Part d, int depth) {
        Components.checkDepth(d, depth);
        switch (d.at("type").text()) {
            case "ByteLevel" -> PreTokenizers.byteLevel(d);
            case "Metaspace" -> PreTokenizers.metaspace(d);
            case "WordPiece" -> {
                d.only("type", "prefix", "cleanup");
                d.at("prefix").text();
                d.at("cleanup").bool();
            }
            case "BPEDecoder" -> {
                d.only("type", "suffix");
                d.at("suffix").text();
            }
            case "CTC" -> {
                d.only("type", "pad_token", "word_delimiter_token", "cleanup");
                d.at("pad_token").text();
                d.at("word_delimiter_token").text();
                d.at("cleanup").bool();
            }
            case "Replace" -> {
                d.only("type", "pattern", "content");
                Patterns.judge(d.at("pattern"), new TextLimit());
                d.at("content").text();
            }
            case "Strip" -> {
                d.only("type", "content", "start", "stop");
                d.at("content").textNotEmpty();
                d.at("start").integer(0, Integer.MAX_VALUE);
                d.at("stop").integer(0, Integer.MAX_VALUE);
            }
            case "Fuse", "ByteFallback" -> d.only("type");
            case "Sequence" -> {
                d.only("type", "decoders");
                d.at("decoders").list().forEach(each -> judge(each, depth + 1));
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
}
