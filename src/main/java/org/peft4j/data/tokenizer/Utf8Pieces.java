package org.peft4j.data.tokenizer;

/**
 * Text of UTF-8 bytes that come in pieces; a character is given when it is whole. What is not UTF-8 is U+FFFD: one for each
 * longest beginning of a character, as Unicode recommends.
 */
final class Utf8Pieces {
    private int missing;
    private int character;
    /** Bounds of the next byte. */
    private int from;

    private int to;

    /** The text that is certain with these bytes. */
    String add(byte[] bytes) {
        StringBuilder text = new StringBuilder();
        for (byte each : bytes) {
            int b = each & 0xFF;
            if (missing > 0 && (b < from || b > to)) {
                text.append('\uFFFD');
                missing = 0;
            }
            if (missing == 0) {
                begin(b, text);
                continue;
            }
            character = character << 6 | (b & 0x3F);
            from = 0x80;
            to = 0xBF;
            if (--missing == 0) {
                text.appendCodePoint(character);
            }
        }
        return text.toString();
    }

    private void begin(int b, StringBuilder text) {
        if (b < 0x80) {
            text.append((char) b);
            return;
        }
        if (b < 0xC2 || b > 0xF4) {
            text.append('\uFFFD');
            return;
        }
        missing = b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
        character = b & (0x3F >> missing);
        from = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80; // no longer than needed
        to = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF; // no surrogate, nothing above U+10FFFF
    }

    /** What stands for the beginning of a character that has no end. */
    String end() {
        boolean open = missing > 0;
        missing = 0;
        return open ? "\uFFFD" : "";
    }
}
