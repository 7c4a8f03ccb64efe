package org.peft4j;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;

/** What the classes share that show an adapter as what it is for. */
final class Faces {
    private Faces() {}

    static void check(LoadedAdapter adapter, String task) {
        if (!adapter.task().type().equals(task)) {
            throw new ConfigException("adapter '" + adapter.name() + "' does "
                    + adapter.task().type() + ", not " + task + "; load one that was trained for it");
        }
    }

    /** Rows of one column. */
    static List<Map<String, @Nullable Object>> rows(List<?> values, String column) {
        List<Map<String, @Nullable Object>> rows = new ArrayList<>();
        for (int i = 0; i < values.size(); i++) {
            Map<String, @Nullable Object> row = new HashMap<>();
            row.put(column, Objects.requireNonNull(values.get(i), "texts[" + i + "]"));
            rows.add(row);
        }
        return rows;
    }

    /** Answers for at least one row, all adapters of one model. */
    static List<BaseModel.Answer> answer(
            List<LoadedAdapter> adapterOf, List<Map<String, @Nullable Object>> columns, IntFunction<String> where) {
        List<Row> rows = new ArrayList<>();
        try (RowReader reader = RowReader.of(columns.iterator())) {
            for (int i = 0; i < columns.size(); i++) {
                rows.add(Objects.requireNonNull(reader.next()));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return adapterOf.get(0).base().answer(adapterOf, rows, where);
    }

    /** Names texts for messages, of which this is a part. */
    static IntFunction<String> texts(int first, int of) {
        return i -> "text " + (first + i + 1) + " of " + of;
    }

    static List<String> notes(LoadedAdapter adapter, @Nullable BaseModel owned) {
        List<String> notes = new ArrayList<>();
        if (owned != null) {
            notes.addAll(owned.notes());
        }
        notes.addAll(adapter.notes());
        return notes;
    }
}
