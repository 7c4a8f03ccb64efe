package org.peft4j.data.template;

/** What a string between quotes means: Python's escapes. */
final class StringLiteral {
    private final String ascii;
    private final int line;
    private final StringBuilder value = new StringBuilder();
    private int position;

    private StringLiteral(String ascii, int line) {
        this.ascii = ascii;
        this.line = line;
    }

    static String value(String between, int line) {
        return between.indexOf('\\') < 0 ? between : new StringLiteral(ascii(between), line).read();
    }

    /** jinja2 writes other letters as escapes before it reads escapes; behind a backslash that makes a difference. */
    private static String ascii(String text) {
        StringBuilder out = new StringBuilder();
        text.codePoints().forEach(c -> {
            if (c < 0x80) {
                out.append((char) c);
            } else {
                out.append(String.format(c <= 0xff ? "\\x%02x" : c <= 0xffff ? "\\u%04x" : "\\U%08x", c));
            }
        });
        return out.toString();
    }

    private String read() {
        while (position < ascii.length()) {
            char c = ascii.charAt(position++);
            if (c == '\\' && position < ascii.length()) {
                escape(ascii.charAt(position++));
            } else {
                value.append(c);
            }
        }
        return value.toString();
    }

    private void escape(char kind) {
        switch (kind) {
            case '\n' -> {} // the line goes on
            case '\\', '\'', '"' -> value.append(kind);
            case 'a' -> value.append('\u0007');
            case 'b' -> value.append('\b');
            case 'f' -> value.append('\f');
            case 'n' -> value.append('\n');
            case 'r' -> value.append('\r');
            case 't' -> value.append('\t');
            case 'v' -> value.append('\u000b');
            case 'x' -> hex(2);
            case 'u' -> hex(4);
            case 'U' -> hex(8);
            case 'N' -> throw TemplateError.syntax("escape \\N{…} is not supported; write the character itself", line);
            default -> {
                if (kind >= '0' && kind <= '7') {
                    octal();
                } else {
                    value.append('\\').append(kind);
                }
            }
        }
    }

    private void hex(int digits) {
        int end = position + digits;
        long code = -1;
        if (end <= ascii.length() && ascii.substring(position, end).matches("[0-9a-fA-F]+")) {
            code = Long.parseLong(ascii.substring(position, end), 16);
        }
        if (code < 0 || code > Character.MAX_CODE_POINT) {
            throw TemplateError.syntax(
                    "escape \\" + ascii.charAt(position - 1) + " needs " + digits + " hexadecimal digits", line);
        }
        if (code >= Character.MIN_SURROGATE && code <= Character.MAX_SURROGATE) {
            throw TemplateError.syntax("escape \\u" + ascii.substring(position, end) + " is half a character", line);
        }
        value.appendCodePoint((int) code);
        position = end;
    }

    private void octal() {
        int begin = position - 1;
        int end = begin + 1;
        while (end < ascii.length() && end < begin + 3 && ascii.charAt(end) >= '0' && ascii.charAt(end) <= '7') {
            end++;
        }
        value.appendCodePoint(Integer.parseInt(ascii.substring(begin, end), 8));
        position = end;
    }
}
