package org.peft4j.data.tokenizer;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.NearestName;

/**
 * A piece of a JSON file and the place where it stands, so that what is wrong with it can be said: {@code
 * normalizer.lowercase must be true or false, got 3}.
 */
record Part(Path file, String where, @Nullable Object value) {
    private static final int SHOWN = 60;

    /** The whole file. */
    static Part root(Path file, Map<String, @Nullable Object> content) {
        return new Part(file, "", content);
    }

    /** The member of this name, which has to be there; null counts as a value. */
    Part at(String key) {
        if (!map().containsKey(key)) {
            throw bad(key + " is missing" + (where.isEmpty() ? "" : " in " + where));
        }
        return member(key);
    }

    /** The member of this name, unless it is absent or null. */
    Optional<Part> find(String key) {
        return map().get(key) == null ? Optional.empty() : Optional.of(member(key));
    }

    private Part member(String key) {
        return new Part(file, where.isEmpty() ? key : where + "." + key, map().get(key));
    }

    /** Refuses members that are not in this list, since their meaning is unknown. */
    void only(String... known) {
        List<String> names = Arrays.asList(known);
        for (String key : map().keySet()) {
            if (!names.contains(key)) {
                throw bad((where.isEmpty() ? "" : where + " has ") + "an unknown key '" + key + "'"
                        + NearestName.hint(key, names));
            }
        }
    }

    /** The names of the members. */
    Iterable<String> keys() {
        return map().keySet();
    }

    String text() {
        if (!(value instanceof String text)) {
            throw must("a text");
        }
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                throw bad(where + " has half a character (a surrogate without its other half)");
            }
        }
        return text;
    }

    String textNotEmpty() {
        if (text().isEmpty()) {
            throw must("a text that is not empty");
        }
        return text();
    }

    boolean bool() {
        if (!(value instanceof Boolean bool)) {
            throw must("true or false");
        }
        return bool;
    }

    /** A member that is true or false; {@code absent} where it is not there. */
    boolean bool(String key, boolean absent) {
        return find(key).map(Part::bool).orElse(absent);
    }

    long integer(long min, long max) {
        boolean whole = value instanceof Integer || value instanceof Long;
        if (!whole || ((Number) value).longValue() < min || ((Number) value).longValue() > max) {
            throw must("a whole number from " + min + " to " + max);
        }
        return ((Number) value).longValue();
    }

    double number(double bound) {
        if (!(value instanceof Number number) || !(Math.abs(number.doubleValue()) <= bound)) {
            throw must("a number from " + -bound + " to " + bound);
        }
        return number.doubleValue();
    }

    List<Part> list() {
        if (!(value instanceof List<?> list)) {
            throw must("a list");
        }
        List<Part> parts = new ArrayList<>(list.size());
        for (int i = 0; i < list.size(); i++) {
            parts.add(new Part(file, where + "[" + i + "]", list.get(i)));
        }
        return parts;
    }

    /** One of these texts. */
    String oneOf(String... values) {
        List<String> known = Arrays.asList(values);
        if (!known.contains(value)) {
            throw must("one of " + known);
        }
        return text();
    }

    @SuppressWarnings("unchecked") // Json makes maps with texts as keys
    Map<String, @Nullable Object> map() {
        if (!(value instanceof Map<?, ?>)) {
            throw must("an object, {…}");
        }
        return (Map<String, @Nullable Object>) value;
    }

    MalformedFileException must(String be) {
        String shown = String.valueOf(value);
        return bad((where.isEmpty() ? "the file" : where) + " must be " + be + ", got "
                + (shown.length() > SHOWN ? shown.substring(0, SHOWN) + "…" : shown));
    }

    MalformedFileException bad(String reason) {
        return new MalformedFileException(file, -1, reason);
    }
}
