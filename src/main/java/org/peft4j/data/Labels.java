package org.peft4j.data;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.NearestName;

/**
 * The classes of a task: their names, in the order of the model's outputs. Immutable.
 *
 * <p>A row's label is the class of that name. Numbers are compared as numbers, so that {@code 1.0} (as spreadsheets and data
 * frames write it) is {@code 1}; {@code 01} is no number but a text, as a postcode is. Where no name is a whole number, a row's label may also be one: the number of the output,
 * from 0.
 */
public final class Labels {
    /** More different labels than this are taken for a mistake in the choice of the column. */
    public static final int MAX = 10_000;

    private static final int SHOWN = 20;
    private static final Pattern WHOLE = Pattern.compile("-?(0|[1-9]\\d{0,17})(\\.0{1,18})?");
    private static final Pattern NUMBER = Pattern.compile("-?(0|[1-9]\\d{0,17})(\\.\\d{1,18})?([eE][-+]?\\d{1,3})?");

    /** Where outputs are no classes. */
    public static final Labels NONE = new Labels(List.of());

    private final List<String> names;
    private final Map<String, Integer> indexes = new HashMap<>();
    private final Map<String, Integer> canonical = new HashMap<>();
    private final boolean numbersAreOutputs;

    private Labels(List<String> names) {
        this.names = List.copyOf(names);
        for (String name : names) {
            Integer same = canonical.putIfAbsent(canonical(name), indexes.size());
            if (same != null) {
                String first = names.get(same);
                throw new ConfigException("labels must differ, got '" + name + "' twice"
                        + (first.equals(name) ? "" : " ('" + first + "' is the same number)"));
            }
            indexes.put(name, indexes.size());
        }
        numbersAreOutputs = names.stream().noneMatch(Labels::isWhole);
    }

    /** The given names in the given order. */
    public static Labels of(List<String> names) {
        if (names.size() < 2 || names.size() > MAX) {
            throw new ConfigException("labels must be 2 to " + MAX + " names, got " + names.size() + " of them"
                    + (names.size() == 1 ? " (" + quoted(names) + ")" : ""));
        }
        return new Labels(names);
    }

    /**
     * The different labels among those that rows have, in the order that outputs get: numbers by size, else by their
     * letters. Spellings of one number are one label.
     *
     * @param counts how often each text occurs
     */
    public static Map<String, Long> sorted(Map<String, Long> counts) {
        Map<String, Long> sum = new LinkedHashMap<>();
        Map<String, String> spelling = new HashMap<>();
        counts.forEach((text, count) -> {
            String key = canonical(text);
            sum.merge(key, count, Long::sum);
            spelling.merge(key, text, (one, other) -> key);
        });
        boolean whole = sum.keySet().stream().allMatch(Labels::isWhole);
        boolean numbers = sum.keySet().stream().allMatch(Labels::isNumber);
        TreeMap<String, Long> sorted = new TreeMap<>(
                numbers
                        ? Comparator.<String, BigDecimal>comparing(BigDecimal::new)
                                .thenComparing(Comparator.<String>naturalOrder())
                        : Comparator.<String>naturalOrder());
        sum.forEach((key, count) -> sorted.put(whole ? key : spelling.getOrDefault(key, key), count));
        return new LinkedHashMap<>(sorted);
    }

    /** Whether the text is a whole number: {@code 3}, {@code -1}, {@code 3.0}. */
    public static boolean isWhole(String label) {
        return WHOLE.matcher(label).matches();
    }

    /** Whether the text is a number. */
    public static boolean isNumber(String label) {
        return NUMBER.matcher(label).matches();
    }

    /** One text for all spellings of a whole number; other texts stay as they are. */
    private static String canonical(String label) {
        if (!isWhole(label)) {
            return label;
        }
        int dot = label.indexOf('.');
        return new BigInteger(dot < 0 ? label : label.substring(0, dot)).toString();
    }

    public List<String> names() {
        return names;
    }

    public int size() {
        return names.size();
    }

    /** The index of the class that a label means; empty if it is none of them. */
    public OptionalInt find(String label) {
        Integer index = indexes.get(label);
        if (index == null) {
            index = canonical.get(canonical(label));
        }
        if (index == null && isOutput(label)) {
            index = Integer.valueOf(canonical(label));
        }
        return index == null ? OptionalInt.empty() : OptionalInt.of(index);
    }

    /** Whether the label is no name, but the number of an output. */
    public boolean isOutput(String label) {
        return numbersAreOutputs
                && isWhole(label)
                && !label.startsWith("-")
                && new BigInteger(canonical(label)).compareTo(BigInteger.valueOf(size())) < 0;
    }

    /**
     * The index of a row's label.
     *
     * @param file where the row comes from
     * @param line its line, or place in a stream
     * @throws MalformedFileException if the label is not one of the names
     */
    public int index(Path file, long line, String label) {
        OptionalInt index = find(label);
        if (index.isEmpty()) {
            throw RowPlaces.wrong(
                    file,
                    line,
                    "label '" + label + "' is not in the labels " + this
                            + NearestName.of(label, names)
                                    .map(name -> "; did you mean '" + name + "'?")
                                    .orElse("; give the rows' names of the classes in the order of the outputs"
                                            + " (labels in a run file, --labels, Options.withLabels)"));
        }
        return index.getAsInt();
    }

    /** Names for a message: in quotes, so that blanks are seen, and only the first of many. */
    public static String quoted(java.util.Collection<String> names) {
        List<String> shown = new ArrayList<>();
        names.stream().limit(SHOWN).forEach(name -> shown.add("'" + name + "'"));
        return "[" + String.join(", ", shown) + "]"
                + (names.size() > SHOWN ? " and " + (names.size() - SHOWN) + " more" : "");
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Labels labels && labels.names.equals(names);
    }

    @Override
    public int hashCode() {
        return names.hashCode();
    }

    @Override
    public String toString() {
        return quoted(names);
    }
}
