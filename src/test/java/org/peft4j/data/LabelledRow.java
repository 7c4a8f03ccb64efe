package org.peft4j.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A row whose text and label were asked for, as training asks. */
record LabelledRow(String text, @Nullable String label, Map<String, @Nullable Object> fields, long line, String where) {
    /** All rows of a file; labels only if a column is named. */
    static List<LabelledRow> readAll(Path file, String text, @Nullable String label) throws IOException {
        List<LabelledRow> rows = new ArrayList<>();
        try (RowReader reader = RowReader.open(file, label == null ? List.of(text) : List.of(text, label))) {
            for (Row row = reader.next(); row != null; row = reader.next()) {
                rows.add(new LabelledRow(
                        row.text(text),
                        label == null ? null : row.label(label),
                        row.fields(),
                        row.line(),
                        row.where()));
            }
        }
        return rows;
    }
}
