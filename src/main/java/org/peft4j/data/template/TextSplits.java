package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The methods that take texts apart. */
final class TextSplits {
    private TextSplits() {}

    private static String separator(Args.Bound bound) {
        String separator = bound.text("sep");
        if (separator.isEmpty()) {
            throw TemplateError.fault("a separator must not be empty");
        }
        return separator;
    }

    /** {@code partition}, {@code rpartition}: what is before, the separator, what is behind. */
    static Tuple partition(String text, Args.Bound bound, boolean fromRight, Budget budget) {
        String separator = separator(bound);
        budget.search(text.length(), separator.length());
        int at = fromRight ? text.lastIndexOf(separator) : text.indexOf(separator);
        if (at < 0) {
            return fromRight ? Tuple.of("", "", text) : Tuple.of(text, "", "");
        }
        return Tuple.of(text.substring(0, at), separator, text.substring(at + separator.length()));
    }

    /** {@code split}, {@code rsplit}: at a separator, or without one at white space. */
    static List<Object> split(String text, Args.Bound bound, boolean fromRight, Budget budget) {
        int most = bound.integer("maxsplit", -1);
        most = most < 0 ? Integer.MAX_VALUE : most;
        if (bound.get("sep", null) == null) {
            return fromRight ? wordsFromRight(text, most) : words(text, most);
        }
        String separator = separator(bound);
        budget.search(text.length(), separator.length());
        List<Object> parts = new ArrayList<>();
        if (fromRight) {
            int end = text.length();
            for (int at; parts.size() < most && (at = text.lastIndexOf(separator, end - separator.length())) >= 0; ) {
                parts.add(text.substring(at + separator.length(), end));
                end = at;
            }
            parts.add(text.substring(0, end));
            Collections.reverse(parts);
        } else {
            int begin = 0;
            for (int at; parts.size() < most && (at = text.indexOf(separator, begin)) >= 0; ) {
                parts.add(text.substring(begin, at));
                begin = at + separator.length();
            }
            parts.add(text.substring(begin));
        }
        return parts;
    }

    private static List<Object> words(String text, int most) {
        List<Object> words = new ArrayList<>();
        int i = 0;
        while (true) {
            while (i < text.length() && PyText.isSpace(text.charAt(i))) {
                i++;
            }
            int begin = i;
            if (begin == text.length()) {
                return words;
            }
            if (words.size() == most) {
                words.add(text.substring(begin));
                return words;
            }
            while (i < text.length() && !PyText.isSpace(text.charAt(i))) {
                i++;
            }
            words.add(text.substring(begin, i));
        }
    }

    private static List<Object> wordsFromRight(String text, int most) {
        List<Object> words = new ArrayList<>();
        String rest = PyText.stripRight(text);
        int end = rest.length();
        while (end > 0 && words.size() < most) {
            int begin = end;
            while (begin > 0 && !PyText.isSpace(rest.charAt(begin - 1))) {
                begin--;
            }
            words.add(rest.substring(begin, end));
            end = begin;
            while (end > 0 && PyText.isSpace(rest.charAt(end - 1))) {
                end--;
            }
        }
        if (end > 0) {
            words.add(rest.substring(0, end));
        }
        Collections.reverse(words);
        return words;
    }
}
