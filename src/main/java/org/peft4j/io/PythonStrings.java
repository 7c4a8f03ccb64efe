package org.peft4j.io;

/** Texts as Python's {@code json} writes them. */
public final class PythonStrings {
    private PythonStrings() {}

    /**
     * Appends a text in quotes.
     *
     * @param ascii whether letters beyond ASCII are escaped ({@code ensure_ascii})
     */
    public static void quote(StringBuilder out, CharSequence text, boolean ascii) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"' -> out.append("\\\"");
                case '\\' -> out.append("\\\\");
                case '\b' -> out.append("\\b");
                case '\f' -> out.append("\\f");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                default -> {
                    if (c < 0x20 || (ascii && c > 0x7e)) {
                        out.append(String.format("\\u%04x", (int) c));
                    } else {
                        out.append(c);
                    }
                }
            }
        }
        out.append('"');
    }
}
