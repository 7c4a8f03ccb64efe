package org.peft4j.data.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Judges regular expressions in the syntax of Oniguruma (Ruby's), of which tokenizers use a small part: characters,
 * classes, properties, groups, looking ahead and behind, repetition of single characters. What is not in this part is
 * refused, because the library ends the process when an expression does not compile, and when one takes more than ten
 * million steps back for a text.
 *
 * <p>Steps back are bounded by counting the unbounded repetitions that something can fail behind: none, or one; then the
 * steps grow no faster than the text. An expression with two of them in a row ({@code a*a*b}) is refused.
 */
final class RegularExpression {
    /** Unicode's general categories, and the scripts that tokenizers name. */
    private static final Set<String> PROPERTIES = Set.of(
            ("L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Cn"
                            + " Han Hiragana Katakana Hangul Latin Cyrillic Greek Arabic Hebrew Thai Devanagari Bengali Armenian"
                            + " Georgian Tamil Telugu")
                    .split(" "));

    private static final int MAX_COUNT = 100;
    private static final int MAX_DEPTH = 8;
    private static final long MAX_FACTOR = 1000;
    private static final String CONTROL = "nrtfv";
    private static final String CLASSES = "sSdDwW";

    /**
     * How many steps a match can take at one place of a text.
     *
     * @param degree 0: at most {@code factor}; 1: at most {@code factor} for each character of the text
     */
    record Steps(int degree, long factor) {}

    /**
     * @param canFail whether it may not match
     * @param empty whether it can match nothing
     */
    private record Piece(int degree, long factor, boolean canFail, boolean empty) {}

    private final Part part;
    private final String text;
    private int at;
    private int depth;

    private RegularExpression(Part part) {
        this.part = part;
        this.text = part.text();
    }

    static Steps judge(Part expression) {
        RegularExpression reading = new RegularExpression(expression);
        Piece whole = reading.alternatives();
        if (reading.at < reading.text.length()) {
            throw reading.refused("a ')' that closes nothing");
        }
        if (whole.empty()) {
            throw reading.refused("that it can match nothing");
        }
        if (whole.degree() > 1 || whole.factor() > MAX_FACTOR) {
            throw reading.refused("repetitions whose steps grow faster than the text");
        }
        return new Steps(whole.degree(), whole.factor());
    }

    private Piece alternatives() {
        if (++depth > MAX_DEPTH) {
            throw refused("groups in groups, more than " + MAX_DEPTH + " deep");
        }
        Piece sum = sequence();
        boolean canFail = sum.canFail();
        while (peek('|')) {
            at++;
            Piece next = sequence();
            canFail &= next.canFail();
            sum = new Piece(
                    Math.max(sum.degree(), next.degree()),
                    bounded(sum.factor() + next.factor()),
                    canFail,
                    sum.empty() || next.empty());
        }
        depth--;
        return sum;
    }

    /** What stands between two bars; read to the end first, because only what comes behind makes a repetition go back. */
    private Piece sequence() {
        List<Piece> pieces = new ArrayList<>();
        List<Repeat> repeats = new ArrayList<>();
        while (at < text.length() && !peek('|') && !peek(')')) {
            boolean group = peek('(');
            Piece atom = atom();
            Repeat repeat = repeat();
            if (group && repeat.max != 1) {
                throw refused("a group that is repeated");
            }
            pieces.add(atom);
            repeats.add(repeat);
        }
        int degree = 0;
        long factor = 1;
        boolean canFailBehind = false;
        boolean empty = true;
        for (int i = pieces.size() - 1; i >= 0; i--) {
            Piece atom = pieces.get(i);
            Repeat repeat = repeats.get(i);
            if (repeat.max == Integer.MAX_VALUE) {
                degree += canFailBehind ? 1 : 0;
            } else if (canFailBehind) {
                factor = bounded(factor * (repeat.max - repeat.min + 1));
            }
            degree += atom.degree();
            factor = bounded(factor * atom.factor());
            canFailBehind |= repeat.min > 0 && atom.canFail();
            empty &= repeat.min == 0 || atom.empty();
        }
        return new Piece(degree, factor, canFailBehind, empty);
    }

    private record Repeat(int min, int max) {}

    private Repeat repeat() {
        Repeat repeat = new Repeat(1, 1);
        if (at < text.length() && "?*+".indexOf(text.charAt(at)) >= 0) {
            char sign = text.charAt(at++);
            repeat = new Repeat(sign == '+' ? 1 : 0, sign == '?' ? 1 : Integer.MAX_VALUE);
            if (peek('?') || peek('+')) { // as few as possible, or never given back: no more steps than without
                at++;
            }
        } else if (peek('{')) {
            int close = text.indexOf('}', at);
            String inside = close < 0 ? "" : text.substring(at + 1, close);
            if (!inside.matches("[0-9]{1,3}(,[0-9]{0,3})?")) {
                throw refused("'{' that begins no count; write it as \\{");
            }
            String[] numbers = inside.split(",", -1);
            int min = Integer.parseInt(numbers[0]);
            int max =
                    numbers.length == 1 ? min : numbers[1].isEmpty() ? Integer.MAX_VALUE : Integer.parseInt(numbers[1]);
            if (min > MAX_COUNT || (max > MAX_COUNT && max != Integer.MAX_VALUE) || max < Math.max(1, min)) {
                throw refused("the count {" + inside + "}");
            }
            at = close + 1;
            repeat = new Repeat(min, max);
        }
        if (at < text.length() && "?*+{".indexOf(text.charAt(at)) >= 0) {
            throw refused("a repetition of a repetition");
        }
        return repeat;
    }

    private Piece atom() {
        Piece one = new Piece(0, 1, true, false);
        char c = text.charAt(at);
        switch (c) {
            case '(' -> {
                return group();
            }
            case '[' -> {
                characterClass(0);
                return one;
            }
            case '\\' -> {
                if (at + 1 < text.length() && "bBAzZ".indexOf(text.charAt(at + 1)) >= 0) {
                    at += 2;
                    return notRepeated();
                }
                escape();
                return one;
            }
            case '^', '$' -> {
                at++;
                return notRepeated();
            }
            case '?', '*', '+', '{' -> throw refused("'" + c + "' with nothing to repeat");
            default -> {
                at += Character.charCount(text.codePointAt(at));
                return one;
            }
        }
    }

    /** A place in the text, not a character of it. */
    private Piece notRepeated() {
        if (at < text.length() && "?*+{".indexOf(text.charAt(at)) >= 0) {
            throw refused("a repetition of a place in the text");
        }
        return new Piece(0, 1, true, true);
    }

    private Piece group() {
        boolean looks = true;
        boolean behind = false;
        if (text.startsWith("(?=", at) || text.startsWith("(?!", at)) {
            at += 3;
        } else if (text.startsWith("(?<=", at) || text.startsWith("(?<!", at)) {
            at += 4;
            behind = true;
        } else if (text.startsWith("(?:", at)) {
            at += 3;
            looks = false;
        } else if (text.startsWith("(?i:", at)) {
            at += 4;
            looks = false;
        } else if (text.startsWith("(?", at)) {
            throw refused("a group that begins with '" + text.substring(at, Math.min(text.length(), at + 4)) + "'");
        } else {
            at++;
            looks = false;
        }
        int start = at;
        Piece inside = alternatives();
        if (!peek(')')) {
            throw refused("a group that is not closed");
        }
        if (behind && !plain(text.substring(start, at))) {
            throw refused("looking behind for more than one character");
        }
        at++;
        if (!looks) {
            return inside;
        }
        notRepeated();
        return new Piece(inside.degree(), inside.factor(), true, true);
    }

    /** One character, escape or class. */
    private boolean plain(String inside) {
        if (inside.isEmpty()) {
            return false;
        }
        int end = at;
        at = end - inside.length();
        boolean group = peek('(');
        if (!group) {
            atom();
        }
        boolean plain = !group && at == end;
        at = end;
        return plain;
    }

    private void characterClass(int nesting) {
        if (nesting > 3) {
            throw refused("classes in classes, more than 3 deep");
        }
        at++;
        if (peek('^')) {
            at++;
        }
        int begin = at;
        while (!peek(']') || at == begin) {
            if (at >= text.length() || peek(']')) {
                throw refused("a class that is empty or not closed");
            }
            if (text.startsWith("&&", at)) {
                throw refused("&& in a class");
            }
            if (text.startsWith("[:", at)) {
                throw refused("a class by name, [:…:]; write \\p{…}");
            }
            if (peek('[')) {
                characterClass(nesting + 1);
                continue;
            }
            int first = classCharacter();
            if (peek('-') && at + 1 < text.length() && text.charAt(at + 1) != ']') {
                at++;
                if (peek('[') || first < 0) {
                    throw refused("'-' beside a class; write it as \\-");
                }
                int last = classCharacter();
                if (last < first) {
                    throw refused("a range whose end is before its start");
                }
            }
        }
        at++;
    }

    /** The character, or -1 where it is a whole class of them. */
    private int classCharacter() {
        if (peek('\\')) {
            return escape();
        }
        int c = text.codePointAt(at);
        at += Character.charCount(c);
        return c;
    }

    /** The character that a backslash and what follows it mean, or -1 where it is a class. */
    private int escape() {
        at++;
        if (at >= text.length()) {
            throw refused("'\\' at its end");
        }
        char c = text.charAt(at++);
        int control = CONTROL.indexOf(c);
        if (control >= 0) {
            return "\n\r\t\f\u000b".charAt(control);
        }
        if (CLASSES.indexOf(c) >= 0) {
            return -1;
        }
        if (c == 'p' || c == 'P') {
            int close = text.indexOf('}', at);
            String name = peek('{') && close > 0 ? text.substring(at + 1, close) : "";
            if (!PROPERTIES.contains(name.startsWith("^") ? name.substring(1) : name)) {
                throw refused("the property \\" + c + "{" + name + "}");
            }
            at = close + 1;
            return -1;
        }
        if (c > 0x7e || c < 0x20 || Character.isLetterOrDigit(c)) {
            throw refused("'\\" + c + "'");
        }
        return c;
    }

    private boolean peek(char c) {
        return at < text.length() && text.charAt(at) == c;
    }

    private static long bounded(long factor) {
        return Math.min(factor, MAX_FACTOR + 1);
    }

    private RuntimeException refused(String what) {
        return part.bad(part.where() + " has " + what + " at character " + Math.min(at, text.length())
                + ", which is not read; expression: " + text);
    }
}
