package org.peft4j.data;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.NearestName;

/** The names of a CSV file's columns. One may be empty (pandas writes its index so). */
record CsvHeader(List<String> names, char separator) {
    /** More columns are taken for a mistake. */
    static final int MAX_COLUMNS = 100_000;

    private static final Map<Character, String> SEPARATORS =
            Map.of(',', "commas", ';', "semicolons", '\t', "tabs", '|', "vertical bars");

    /**
     * What has to be in a header.
     *
     * @param columns names of columns
     * @param hint what to add where one is missing
     */
    record Wanted(List<String> columns, String hint) {}

    /** Checks the names; {@code wrong} makes the exception. */
    static CsvHeader of(
            List<String> names, char separator, Wanted wanted, Function<String, MalformedFileException> wrong) {
        Map<String, Integer> places = new HashMap<>();
        for (int i = 0; i < names.size(); i++) {
            Integer former = places.putIfAbsent(names.get(i), i + 1);
            if (former != null) {
                String columns = " (columns " + former + " and " + (i + 1) + ")";
                throw wrong.apply(
                        names.get(i).isEmpty()
                                ? "two columns have no name" + columns + "; name them, or take them out"
                                : "two columns are called '" + shortened(names.get(i)) + "'" + columns
                                        + "; rename one of them");
            }
        }
        for (String column : wanted.columns()) {
            if (!places.containsKey(column)) {
                String other = otherSeparator(names, separator);
                throw wrong.apply("no column '" + column + "' in the header"
                        + (other == null ? NearestName.hint(column, names) : other) + wanted.hint());
            }
        }
        return new CsvHeader(List.copyOf(names), separator);
    }

    /** What to say about a row with another number of fields. */
    String wrongCount(int count) {
        return "expected " + names.size() + (names.size() == 1 ? " field" : " fields") + " as in the header ("
                + String.join(
                        ", ", names.stream().limit(10).map(CsvHeader::shortened).toList())
                + (names.size() > 10 ? ", …" : "") + "), received " + count
                + (count > names.size()
                        ? "; a field with a " + (separator == ',' ? "comma" : "tab")
                                + " in it has to be in double quotes"
                        : "");
    }

    private static @Nullable String otherSeparator(List<String> names, char separator) {
        String header = String.join("", names);
        if (header.startsWith("{") || header.startsWith("[")) {
            return "; the content looks like JSON: write one object on each line, and name the file .jsonl";
        }
        char most = separator;
        long count = 0;
        for (char other : SEPARATORS.keySet()) {
            long found = header.chars().filter(c -> c == other).count();
            if (other != separator && found > count) {
                most = other;
                count = found;
            }
        }
        if (count < names.size()) {
            return null;
        }
        return ", which is separated by " + SEPARATORS.get(most) + "; expected " + SEPARATORS.get(separator)
                + (most == '\t' || most == ','
                        ? ": name the file " + (most == ',' ? ".csv" : ".tsv")
                        : ": convert it: python -c \"import csv, sys; csv.writer(sys.stdout).writerows("
                                + "csv.reader(sys.stdin, delimiter='" + most + "'))\" < OLD > NEW");
    }

    private static String shortened(String name) {
        return name.length() > 40 ? name.substring(0, 40) + "…" : name;
    }
}
