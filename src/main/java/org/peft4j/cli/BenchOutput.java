package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.AtomicFiles;
import picocli.CommandLine.Option;

/** Where measurements go. */
final class BenchOutput {
    @Option(
            names = "--json",
            paramLabel = "FILE",
            description = "Write the JSON to this file instead of standard output.")
    private @Nullable Path json;

    /** Before minutes of work. */
    void check() {
        if (json != null) {
            Inputs.canBecomeFile(json, "--json");
        }
    }

    void write(Object result, Main main) throws IOException {
        if (json == null) {
            main.out().println(JsonOutput.pretty(result));
        } else {
            AtomicFiles.writeString(json, JsonOutput.pretty(result) + "\n");
        }
    }

    /** Rows with the same keys; the first row's are the header. */
    static String table(List<Map<String, Object>> rows) {
        if (rows.isEmpty()) {
            return "";
        }
        List<String> keys = List.copyOf(rows.get(0).keySet());
        TextTable table = new TextTable(keys.toArray(String[]::new));
        rows.forEach(
                row -> table.row(keys.stream().map(key -> cell(row.get(key))).toArray(String[]::new)));
        return table.toString();
    }

    static Map<String, Object> keyed(Map<?, ?> map) {
        Map<String, Object> keyed = new LinkedHashMap<>();
        map.forEach((key, value) -> keyed.put(String.valueOf(key), value));
        return keyed;
    }

    static String cell(@Nullable Object value) {
        if (value instanceof Double number) {
            return String.format(Locale.ROOT, Math.abs(number) < 10 ? "%.3f" : "%,.1f", number);
        }
        return value instanceof Number number
                ? String.format(Locale.ROOT, "%,d", number.longValue())
                : String.valueOf(value);
    }
}
