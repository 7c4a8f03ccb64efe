package org.peft4j.data.template;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Cuts a template into tokens as jinja2 3.1 does with {@code trim_blocks} and {@code lstrip_blocks}: the first newline
 * behind a block or comment goes, blanks between the beginning of a line and a block or comment go, {@code -} takes all
 * white space on its side, {@code +} keeps it. Line ends become {@code \n}; one at the very end goes.
 */
final class Lexer {
    private static final String SPACE = "[" + PyText.SPACE_CLASS + "]";
    private static final Pattern RAW_BEGIN =
            Pattern.compile("\\{%([-+]?)" + SPACE + "*raw" + SPACE + "*(?:-%}" + SPACE + "*|%})");
    private static final Pattern RAW_END =
            Pattern.compile("\\{%([-+]?)" + SPACE + "*endraw" + SPACE + "*(?:\\+%}|-%}" + SPACE + "*|%}\\n?)");
    private static final Pattern COMMENT_END = Pattern.compile("\\+#}|-#}" + SPACE + "*|#}\\n?");
    private static final Pattern BLOCK_END = Pattern.compile("\\+%}|-%}" + SPACE + "*|%}\\n?");
    private static final Pattern PRINT_END = Pattern.compile("-}}" + SPACE + "*|}}");
    private static final Pattern BLANKS = Pattern.compile(SPACE + "+");
    private static final Pattern FLOAT =
            Pattern.compile("(?<!\\.)[0-9][0-9_]*(?:(?:\\.[0-9][0-9_]*)?[eE][+-]?[0-9][0-9_]*|\\.[0-9][0-9_]*)");
    private static final Pattern INTEGER =
            Pattern.compile("0[bB][01_]+|0[oO][0-7_]+|0[xX][0-9a-fA-F_]+|[1-9][0-9_]*|0[0_]*");
    private static final Pattern NAME = Pattern.compile("[\\p{L}\\p{Nl}_][\\p{L}\\p{Nl}\\p{Mn}\\p{Mc}\\p{Nd}\\p{Pc}]*");
    private static final Pattern OPERATOR = Pattern.compile("//|\\*\\*|==|!=|>=|<=|[-+/*%~\\[\\](){}><=.:|,;]");

    private final String source;
    private final List<Token> tokens = new ArrayList<>();
    private final Deque<String> open = new ArrayDeque<>();
    private Matcher match = BLANKS.matcher("");
    private int position;
    private int line = 1;

    private Lexer(String source) {
        this.source = source;
    }

    static List<Token> tokens(String template) {
        String source = template.replace("\r\n", "\n").replace('\r', '\n');
        if (source.endsWith("\n")) {
            source = source.substring(0, source.length() - 1);
        }
        return new Lexer(source).all();
    }

    private List<Token> all() {
        while (position < source.length()) {
            text();
        }
        add(Token.Type.END, "");
        return tokens;
    }

    /** Text up to the next tag, and that tag. */
    private void text() {
        int tag = nextTag();
        if (tag < 0) {
            data(source.substring(position));
            position = source.length();
            return;
        }
        char kind = source.charAt(tag + 1);
        Matcher raw = at(RAW_BEGIN, tag);
        boolean isRaw = kind == '%' && raw.lookingAt();
        int begins = tag + 2;
        char sign = begins < source.length() ? source.charAt(begins) : ' ';
        boolean signed = sign == '-' || sign == '+';
        data(before(position, tag, signed ? sign : ' ', kind != '{'));
        advance(tag);
        if (isRaw) {
            advance(raw.end());
            raw();
            return;
        }
        advance(begins + (signed ? 1 : 0));
        if (kind == '#') {
            Matcher end = find(COMMENT_END, "comment {# has no end #}");
            advance(end.end());
        } else if (kind == '{') {
            add(Token.Type.PRINT_BEGIN, "{{");
            expression(PRINT_END, Token.Type.PRINT_END, "}}");
        } else {
            add(Token.Type.BLOCK_BEGIN, "{%");
            expression(BLOCK_END, Token.Type.BLOCK_END, "%}");
        }
    }

    private int nextTag() {
        for (int i = source.indexOf('{', position); i >= 0 && i + 1 < source.length(); i = source.indexOf('{', i + 1)) {
            char next = source.charAt(i + 1);
            if (next == '{' || next == '%' || next == '#') {
                return i;
            }
        }
        return -1;
    }

    /** The text from {@code begin} to a tag without what the tag's sign, or the rule for blocks, takes from its end. */
    private String before(int begin, int tag, char sign, boolean block) {
        String text = source.substring(begin, tag);
        if (sign == '-') {
            return PyText.stripRight(text);
        }
        if (sign != '+' && block) {
            int lineBegin = text.lastIndexOf('\n') + 1;
            boolean atLineBegin = lineBegin > 0 || begin == 0 || source.charAt(begin - 1) == '\n';
            if (atLineBegin && BLANKS.matcher(text.substring(lineBegin)).matches()) {
                return text.substring(0, lineBegin);
            }
        }
        return text;
    }

    private void raw() {
        int begin = position;
        Matcher end = find(RAW_END, "{% raw %} has no {% endraw %}");
        String sign = end.group(1);
        data(before(begin, end.start(), sign.isEmpty() ? ' ' : sign.charAt(0), true));
        advance(end.end());
    }

    private void expression(Pattern ending, Token.Type type, String shown) {
        int begins = line;
        while (position < source.length()) {
            Matcher end = at(ending, position);
            if (open.isEmpty() && end.lookingAt()) {
                add(type, shown);
                advance(end.end());
                return;
            }
            token();
        }
        throw TemplateError.syntax("a tag has no end " + shown, begins);
    }

    private void token() {
        if (lookingAt(BLANKS)) {
            advance(match.end());
        } else if (lookingAt(FLOAT)) {
            number(Token.Type.FLOAT);
        } else if (lookingAt(INTEGER)) {
            number(Token.Type.INTEGER);
        } else if (lookingAt(NAME)) {
            add(Token.Type.NAME, match.group());
            advance(match.end());
        } else if (source.charAt(position) == '\'' || source.charAt(position) == '"') {
            string();
        } else if (lookingAt(OPERATOR)) {
            balance(match.group());
            add(Token.Type.OPERATOR, match.group());
            advance(match.end());
        } else {
            throw TemplateError.syntax(
                    "unexpected character '" + Character.toString(source.codePointAt(position)) + "'", line);
        }
    }

    private boolean lookingAt(Pattern pattern) {
        match = at(pattern, position);
        return match.lookingAt();
    }

    private void number(Token.Type type) {
        String digits = match.group();
        if (digits.contains("__") || digits.endsWith("_") || digits.contains("_.") || digits.contains("_e")) {
            throw TemplateError.syntax("'" + digits + "' is no number", line);
        }
        add(type, digits.replace("_", ""));
        advance(match.end());
    }

    private void string() {
        char quote = source.charAt(position);
        int end = position + 1;
        while (end < source.length() && source.charAt(end) != quote) {
            end += source.charAt(end) == '\\' ? 2 : 1;
        }
        if (end >= source.length()) {
            throw TemplateError.syntax("a string has no end", line);
        }
        add(Token.Type.STRING, StringLiteral.value(source.substring(position + 1, end), line));
        advance(end + 1);
    }

    private void balance(String operator) {
        switch (operator) {
            case "{" -> open.push("}");
            case "(" -> open.push(")");
            case "[" -> open.push("]");
            case "}", ")", "]" -> {
                if (open.isEmpty()) {
                    throw TemplateError.syntax("unexpected '" + operator + "'", line);
                }
                String expected = open.pop();
                if (!expected.equals(operator)) {
                    throw TemplateError.syntax("unexpected '" + operator + "', expected '" + expected + "'", line);
                }
            }
            default -> {}
        }
    }

    private Matcher at(Pattern pattern, int from) {
        return pattern.matcher(source)
                .region(from, source.length())
                .useTransparentBounds(true)
                .useAnchoringBounds(false);
    }

    private Matcher find(Pattern pattern, String otherwise) {
        Matcher matcher = pattern.matcher(source);
        if (!matcher.find(position)) {
            throw TemplateError.syntax(otherwise, line);
        }
        return matcher;
    }

    private void data(String text) {
        if (!text.isEmpty()) {
            add(Token.Type.DATA, text);
        }
    }

    private void add(Token.Type type, String text) {
        tokens.add(new Token(type, text, line));
    }

    /** Goes on to a position; only what is passed over counts as lines. */
    private void advance(int to) {
        for (int i = position; i < to; i++) {
            if (source.charAt(i) == '\n') {
                line++;
            }
        }
        position = to;
    }
}
