package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntPredicate;

/** Texts as Python sees them: a sequence of code points, with Python's idea of white space and of upper and lower case. */
final class PyText {
    /** White space, for a class of a regular expression. */
    static final String SPACE_CLASS =
            "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

    private PyText() {}

    static boolean isSpace(int c) {
        return (c >= '\t' && c <= '\r')
                || (c >= 0x1c && c <= 0x20)
                || c == 0x85
                || c == 0xa0
                || c == 0x1680
                || (c >= 0x2000 && c <= 0x200a)
                || c == 0x2028
                || c == 0x2029
                || c == 0x202f
                || c == 0x205f
                || c == 0x3000;
    }

    static int length(String text) {
        return text.codePointCount(0, text.length());
    }

    /** The characters, each a text. */
    static List<Object> characters(String text) {
        List<Object> all = new ArrayList<>(text.length());
        text.codePoints().forEach(c -> all.add(Character.toString(c)));
        return all;
    }

    /** From one code point to before another. */
    static String between(String text, int from, int to) {
        int begin = text.offsetByCodePoints(0, from);
        return text.substring(begin, text.offsetByCodePoints(begin, to - from));
    }

    static String stripRight(String text) {
        return strip(text, PyText::isSpace, false, true);
    }

    static String strip(String text, IntPredicate goes, boolean left, boolean right) {
        int begin = 0;
        int end = text.length();
        while (left && begin < end && goes.test(text.codePointAt(begin))) {
            begin += Character.charCount(text.codePointAt(begin));
        }
        while (right && begin < end && goes.test(text.codePointBefore(end))) {
            end -= Character.charCount(text.codePointBefore(end));
        }
        return text.substring(begin, end);
    }

    static String upper(String text) {
        return text.toUpperCase(Locale.ROOT);
    }

    static String lower(String text) {
        return text.toLowerCase(Locale.ROOT);
    }

    static String capitalize(String text) {
        if (text.isEmpty()) {
            return text;
        }
        int end = text.offsetByCodePoints(0, 1);
        return titleCase(text.codePointAt(0))
                + lower(text).substring(lower(text.substring(0, end)).length());
    }

    /** One letter as the first of a word: one that becomes two has only the first of them large. */
    private static String titleCase(int c) {
        if (Character.toTitleCase(c) != c) {
            return Character.toString(Character.toTitleCase(c));
        }
        String upper = upper(Character.toString(c));
        int first = upper.offsetByCodePoints(0, 1);
        return upper.substring(0, first) + lower(upper.substring(first));
    }

    /** Every run of letters begins with a large one. */
    static String title(String text) {
        StringBuilder out = new StringBuilder();
        boolean inWord = false;
        for (int i = 0; i < text.length(); ) {
            int c = text.codePointAt(i);
            out.append(inWord ? lower(Character.toString(c)) : titleCase(c));
            inWord = isCased(c);
            i += Character.charCount(c);
        }
        return out.toString();
    }

    static String swapCase(String text) {
        StringBuilder out = new StringBuilder();
        text.codePoints().forEach(c -> {
            String one = Character.toString(c);
            out.append(Character.isUpperCase(c) ? lower(one) : Character.isLowerCase(c) ? upper(one) : one);
        });
        return out.toString();
    }

    static boolean isCased(int c) {
        return Character.isUpperCase(c) || Character.isLowerCase(c) || Character.isTitleCase(c);
    }

    /** Whether there is a letter with case, and all of them are of this one. */
    static boolean isAllOf(String text, boolean upper) {
        boolean found = false;
        for (int c : text.codePoints().toArray()) {
            if (upper
                    ? Character.isLowerCase(c) || Character.isTitleCase(c)
                    : Character.isUpperCase(c) || Character.isTitleCase(c)) {
                return false;
            }
            found |= upper ? Character.isUpperCase(c) : Character.isLowerCase(c);
        }
        return found;
    }

    /** Python's splitlines. */
    static List<Object> lines(String text, boolean keepEnds) {
        List<Object> lines = new ArrayList<>();
        int begin = 0;
        for (int i = 0; i < text.length(); i++) {
            if (isLineEnd(text.charAt(i))) {
                int end = i;
                if (text.charAt(i) == '\r' && i + 1 < text.length() && text.charAt(i + 1) == '\n') {
                    i++;
                }
                lines.add(text.substring(begin, keepEnds ? i + 1 : end));
                begin = i + 1;
            }
        }
        if (begin < text.length()) {
            lines.add(text.substring(begin));
        }
        return lines;
    }

    private static boolean isLineEnd(char c) {
        return (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    }

    /** Order of Python: by code point. */
    static int compare(String a, String b) {
        int common = Math.min(a.length(), b.length());
        for (int i = 0; i < common; i++) {
            char x = a.charAt(i);
            char y = b.charAt(i);
            if (x != y) {
                // a surrogate stands for a code point above all others
                return Character.isSurrogate(x) != Character.isSurrogate(y)
                        ? Character.isSurrogate(x) ? 1 : -1
                        : Character.compare(x, y);
            }
        }
        return Integer.compare(a.length(), b.length());
    }
}
