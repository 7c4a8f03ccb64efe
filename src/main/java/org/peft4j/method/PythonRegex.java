package org.peft4j.method;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Rewrites a regular expression of Python's {@code re} as one of {@link Pattern} that means the same over module paths, which
 * are ASCII. What Python refuses is refused, and so is the little that Java has no form for. The languages differ in:
 *
 * <pre>
 * (?P&lt;a_b&gt;…) (?P=a_b)     Java's names have letters and digits only, and no P
 * \Z                        Python: the very end;  Java: also before a last line break
 * \v \0 \101                a character each; Java's \v is a class, its octals begin with \0
 * \h \R \p{…} \Q …          Java alone
 * [[a] [a&amp;&amp;b]                 literal brackets and ampersands; Java's sets inside sets
 * {,3} {x} {                at most 3; literal braces; errors in Java
 * a{2}{3}, ^*               errors in Python
 * (?#…)                     a comment; Java has none
 * (?(1)a|b) (?x)            Java has no conditions, and other rules for blanks inside sets: refused
 * </pre>
 */
final class PythonRegex {
    /** {@code .}, {@code ^} and {@code $} know the line break alone, as in Python. */
    static final int FLAGS = Pattern.UNIX_LINES;

    private static final String NOTHING_TO_REPEAT = "nothing to repeat";

    /** What a quantifier would apply to. */
    private enum Before {
        /** Nothing, or a place such as {@code ^}. */
        NOTHING,
        ITEM,
        REPEATED
    }

    private final String in;
    private final StringBuilder out = new StringBuilder();
    private final Set<String> javaNames = new HashSet<>();
    private final Map<String, Integer> numbers = new HashMap<>();
    private final Deque<Integer> open = new ArrayDeque<>(); // numbers of open groups, 0 for those without
    private final Set<Integer> closed = new HashSet<>();
    private int groups;
    private int at;
    private Before before = Before.NOTHING;

    private PythonRegex(String in) {
        this.in = in;
    }

    /**
     * The Java expression, to be compiled with {@link #FLAGS}.
     *
     * @throws IllegalArgumentException says what is wrong and where
     */
    static String toJava(String python) {
        PythonRegex regex = new PythonRegex(python);
        regex.all();
        return regex.out.toString();
    }

    private void all() {
        boolean flagsAllowed = true;
        while (at < in.length()) {
            int start = at;
            char c = next();
            switch (c) {
                case '\\' -> escape();
                case '[' -> set();
                case '(' -> flagsAllowed = group(flagsAllowed);
                case ')' -> close(start);
                case '|' -> {
                    out.append(c);
                    before = Before.NOTHING;
                }
                case '^', '$' -> {
                    out.append(c);
                    before = Before.NOTHING;
                }
                case '*', '+', '?' -> repeat(String.valueOf(c), start);
                case '{' -> brace(start);
                case '.' -> item(".");
                default -> item(literal(c));
            }
            flagsAllowed &= c == '(';
        }
        if (!open.isEmpty()) {
            throw wrong("missing ), unterminated subpattern", in.length());
        }
    }

    private void item(String java) {
        out.append(java);
        before = Before.ITEM;
    }

    /** One character, whatever it is. */
    private static String literal(int c) {
        return c < 0x80 && !Character.isLetterOrDigit(c)
                ? c > ' ' && c < 0x7f ? "\\" + (char) c : String.format("\\x%02x", c)
                : Character.toString(c);
    }

    // --- groups

    /** @return whether flags for all of the expression may still come */
    private boolean group(boolean flagsAllowed) {
        int start = at - 1;
        if (!take("?")) {
            opened("(", ++groups);
            return false;
        }
        if (take("P<")) {
            named(start);
        } else if (take("P=")) {
            String name = until(')', start);
            Integer number = numbers.get(name);
            if (number == null) {
                throw wrong("unknown group name '" + name + "'", start);
            }
            reference(number, start);
        } else if (take("#")) {
            until(')', start);
            return flagsAllowed; // a comment is as if it were not there; what came before may be repeated
        } else if (take(":")) {
            opened("(?:", 0);
        } else if (take("=") || take("!") || take(">") || take("<=") || take("<!")) {
            opened("(" + in.substring(start + 1, at), 0);
        } else if (take("(")) {
            throw wrong("conditions, (?(…)…), are not supported", start);
        } else if (at < in.length() && (Character.isLetter(in.charAt(at)) || in.charAt(at) == '-')) {
            return flags(start, flagsAllowed);
        } else {
            throw wrong("unknown extension (?" + (at < in.length() ? in.charAt(at) : ""), start);
        }
        return false;
    }

    private void opened(String java, int number) {
        out.append(java);
        open.push(number);
        before = Before.NOTHING;
    }

    private void named(int start) {
        String name = until('>', start);
        boolean identifier = !name.isEmpty()
                && Character.isUnicodeIdentifierStart(name.codePointAt(0)) | name.charAt(0) == '_'
                && name.codePoints().allMatch(c -> c == '_' || Character.isUnicodeIdentifierPart(c));
        if (!identifier) {
            throw wrong("bad group name '" + name + "'", start);
        }
        if (numbers.containsKey(name)) {
            throw wrong("redefinition of group name '" + name + "'", start);
        }
        numbers.put(name, ++groups);
        opened("(?<" + javaName(name) + ">", groups);
    }

    /** Java's names have no underscores; groups are referred to by number, so a name only has to be one of its own. */
    private String javaName(String name) {
        String plain = name.matches("[a-zA-Z][a-zA-Z0-9]*") ? name : "g" + groups + "x";
        while (!javaNames.add(plain)) {
            plain += "x";
        }
        return plain;
    }

    private void close(int start) {
        if (open.isEmpty()) {
            throw wrong("unbalanced parenthesis", start);
        }
        int number = open.pop();
        if (number > 0) {
            closed.add(number);
        }
        item(")");
    }

    /** {@code (?i)} for all of the expression, {@code (?i-s:…)} for a part. */
    private boolean flags(int start, boolean flagsAllowed) {
        StringBuilder on = new StringBuilder();
        StringBuilder off = new StringBuilder();
        StringBuilder current = on;
        while (at < in.length() && in.charAt(at) != ')' && in.charAt(at) != ':') {
            char flag = next();
            switch (flag) {
                case '-' -> current = off;
                case 'i' -> current.append('i');
                case 'm', 's' -> current.append(flag);
                case 'a', 'u' -> {} // module paths are ASCII
                default -> throw wrong("the flag '" + flag + "' is not supported", start);
            }
        }
        if (at == in.length()) {
            throw wrong("missing )", start);
        }
        String java = on + (off.isEmpty() ? "" : "-" + off);
        if (next() == ':') {
            opened("(?" + java + ":", 0);
            return false;
        }
        if (!flagsAllowed || current == off) {
            throw wrong("flags for the whole expression have to stand at its start", start);
        }
        out.append(java.isEmpty() ? "" : "(?" + java + ")");
        before = Before.NOTHING;
        return true;
    }

    private void reference(int number, int start) {
        if (number > groups || !closed.contains(number)) {
            throw wrong(number > groups ? "invalid group reference " + number : "cannot refer to an open group", start);
        }
        item("(?:\\" + number + ")"); // in brackets: a digit behind it is not part of the number
    }

    // --- repetition

    private void repeat(String java, int start) {
        if (before == Before.NOTHING) {
            throw wrong(NOTHING_TO_REPEAT, start);
        }
        if (before == Before.REPEATED) {
            throw wrong("multiple repeat", start);
        }
        out.append(java);
        if (at < in.length() && (in.charAt(at) == '?' || in.charAt(at) == '+')) {
            out.append(next());
        }
        before = Before.REPEATED;
    }

    /** {@code {2}}, {@code {2,}}, {@code {,3}}, {@code {2,3}}; anything else is a brace. */
    private void brace(int start) {
        int end = in.indexOf('}', at);
        String inside = end < 0 ? "" : in.substring(at, end);
        if (!inside.matches("\\d+|\\d*,\\d*")) {
            item("\\{");
            return;
        }
        at = end + 1;
        String[] bounds = inside.split(",", -1);
        if (bounds[0].length() > 9 || bounds[bounds.length - 1].length() > 9) {
            throw wrong("the repetition number is too large", start);
        }
        int least = bounds[0].isEmpty() ? 0 : Integer.parseInt(bounds[0]);
        String most = bounds[bounds.length - 1];
        if (!most.isEmpty() && Integer.parseInt(most) < least) {
            throw wrong("min repeat greater than max repeat", start);
        }
        repeat("{" + least + (bounds.length == 1 ? "" : "," + most) + "}", start);
    }

    // --- escapes

    private void escape() {
        int start = at - 1;
        if (at == in.length()) {
            throw wrong("bad escape (end of pattern)", start);
        }
        char c = next();
        switch (c) {
            case 'A', 'b', 'B' -> {
                out.append('\\').append(c);
                before = Before.NOTHING;
            }
            case 'Z' -> {
                out.append("\\z");
                before = Before.NOTHING;
            }
            case 'd', 'D', 's', 'S', 'w', 'W' -> item("\\" + c);
            default -> {
                if (c >= '1' && c <= '9' && !isOctal(at - 1)) {
                    int number = c - '0';
                    if (at < in.length() && Character.digit(in.charAt(at), 10) >= 0) {
                        number = 10 * number + next() - '0';
                    }
                    reference(number, start);
                } else {
                    item(literal(character(c, start)));
                }
            }
        }
    }

    /** Three octal digits are a character, fewer are the number of a group. */
    private boolean isOctal(int from) {
        return from + 3 <= in.length()
                && in.substring(from, from + 3).chars().allMatch(digit -> digit >= '0' && digit <= '7');
    }

    /** The character that an escape stands for, inside a set and outside. */
    private int character(char c, int start) {
        switch (c) {
            case 'a':
                return 7;
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'v':
                return 0x0b;
            case 'x':
                return hex(2, start);
            case 'u':
                return hex(4, start);
            case 'U':
                return hex(8, start);
            default:
                break;
        }
        if (c >= '0' && c <= '7' && (c == '0' || isOctal(at - 1))) {
            int value = c - '0';
            for (int i = 0; i < 2 && at < in.length() && in.charAt(at) >= '0' && in.charAt(at) <= '7'; i++) {
                value = 8 * value + next() - '0';
            }
            if (value > 0377) {
                throw wrong("octal escape value outside of range 0-0o377", start);
            }
            return value;
        }
        if (c < 0x80 && Character.isLetterOrDigit(c)) {
            throw wrong("bad escape \\" + c, start);
        }
        return c;
    }

    private int hex(int digits, int start) {
        String hex = in.substring(at, Math.min(in.length(), at + digits));
        if (!hex.matches("[0-9a-fA-F]{" + digits + "}") || Long.parseLong(hex, 16) > Character.MAX_CODE_POINT) {
            throw wrong("bad escape \\" + in.charAt(at - 1) + hex, start);
        }
        at += digits;
        return Integer.parseInt(hex, 16);
    }

    // --- sets

    private void set() {
        int start = at - 1;
        StringBuilder set = new StringBuilder(take("^") ? "[^" : "[");
        boolean first = true;
        while (first || at < in.length() && in.charAt(at) != ']') {
            first = false;
            List<String> low = member(start);
            if (at + 1 < in.length() && in.charAt(at) == '-' && in.charAt(at + 1) != ']') {
                at++;
                List<String> high = member(start);
                if (low.size() > 1 || high.size() > 1 || low.get(0).compareTo(high.get(0)) > 0) {
                    throw wrong("bad character range", start);
                }
                set.append(literal(low.get(0).codePointAt(0)))
                        .append('-')
                        .append(literal(high.get(0).codePointAt(0)));
            } else {
                set.append(low.size() > 1 ? low.get(1) : literal(low.get(0).codePointAt(0)));
            }
        }
        if (at == in.length()) {
            throw wrong("unterminated character set", start);
        }
        at++;
        item(set.append(']').toString());
    }

    /** A character, or nothing and a class such as {@code \d}. */
    private List<String> member(int start) {
        if (at == in.length()) {
            throw wrong("unterminated character set", start);
        }
        char c = next();
        if (c != '\\') {
            return List.of(Character.toString(c));
        }
        if (at == in.length()) {
            throw wrong("unterminated character set", start);
        }
        char escaped = next();
        List<String> member = new ArrayList<>();
        switch (escaped) {
            case 'd', 'D', 's', 'S', 'w', 'W' -> member.addAll(List.of("", "\\" + escaped));
            case 'b' -> member.add("\b");
            default -> member.add(Character.toString(character(escaped, at - 2)));
        }
        return member;
    }

    // --- reading

    private char next() {
        return in.charAt(at++);
    }

    private boolean take(String text) {
        if (!in.startsWith(text, at)) {
            return false;
        }
        at += text.length();
        return true;
    }

    private String until(char end, int start) {
        int to = in.indexOf(end, at);
        if (to < 0) {
            throw wrong("missing " + end, start);
        }
        String text = in.substring(at, to);
        at = to + 1;
        return text;
    }

    private IllegalArgumentException wrong(String reason, int position) {
        return new IllegalArgumentException(
                "'" + in + "' is not a regular expression as Python has them: " + reason + " at " + position);
    }
}
