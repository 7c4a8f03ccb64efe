package org.peft4j.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.NearestName;

/** The classes of a task: their names, in the order of the model's outputs. Immutable. */
public final class Labels {
    /** More different labels than this are taken for a mistake in the choice of the column. */
    public static final int MAX = 10_000;

    private final List<String> names;
    private final Map<String, Integer> indexes = new HashMap<>();

    private Labels(List<String> names) {
        this.names = List.copyOf(names);
        for (String name : names) {
            if (indexes.putIfAbsent(name, indexes.size()) != null) {
                throw new IllegalArgumentException("labels must differ, got '" + name + "' twice");
            }
        }
        if (names.size() < 2 || names.size() > MAX) {
            throw new IllegalArgumentException("labels must be 2 to " + MAX + " names, got " + names.size() + " of them"
                    + (names.size() == 1 ? " (" + names + ")" : ""));
        }
    }

    /** The given names in the given order. */
    public static Labels of(List<String> names) {
        return new Labels(names);
    }

    /** The names that a data file has, sorted. */
    public static Labels find(Path file, String text, String label) throws IOException {
        TreeSet<String> found = new TreeSet<>();
        try (RowReader reader = RowReader.open(file, text, label)) {
            for (Row row = reader.next(); row != null; row = reader.next()) {
                found.add(String.valueOf(row.label()));
                if (found.size() > MAX) {
                    throw new MalformedFileException(
                            file,
                            -1,
                            "more than " + MAX + " different labels in column '" + label + "' up to line " + row.line()
                                    + "; is it the label column?");
                }
            }
        }
        if (found.size() < 2) {
            throw new MalformedFileException(
                    file,
                    -1,
                    "expected at least two different labels in column '" + label + "', received only " + found
                            + "; if that is meant, list them: labels: [a, b]");
        }
        return new Labels(List.copyOf(found));
    }

    public List<String> names() {
        return names;
    }

    public int size() {
        return names.size();
    }

    /**
     * The index of a row's label.
     *
     * @throws MalformedFileException if the label is not one of the names
     */
    public int index(Row row) throws MalformedFileException {
        String label = String.valueOf(row.label());
        Integer index = indexes.get(label);
        if (index == null) {
            throw new MalformedFileException(
                    row.file(),
                    -1,
                    "line " + row.line() + ": label '" + label + "' is not in labels "
                            + (size() > 20 ? names.subList(0, 20) + " and " + (size() - 20) + " more" : names)
                            + NearestName.of(label, names)
                                    .map(name -> "; did you mean '" + name + "'?")
                                    .orElse(""));
        }
        return index;
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
        return names.toString();
    }
}
