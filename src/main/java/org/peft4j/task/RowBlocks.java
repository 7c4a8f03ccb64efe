package org.peft4j.task;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToLongFunction;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;

/** Rows in blocks, so that tokenizing may use all processors and the texts of a long file are never all in memory. */
public final class RowBlocks {
    private static final int ROWS_AT_ONCE = 512;
    private static final int CHARACTERS_AT_ONCE = 1 << 22;

    private RowBlocks() {}

    /** Does something with rows. */
    @FunctionalInterface
    public interface Receiver {
        void accept(List<Row> rows) throws IOException;
    }

    /**
     * Reads all rows.
     *
     * @param characters of a row's texts; a row that is wrong is refused here
     */
    public static void read(RowReader reader, ToLongFunction<Row> characters, Receiver receiver) throws IOException {
        List<Row> rows = new ArrayList<>();
        long size = 0;
        for (Row row = reader.next(); row != null; row = reader.next()) {
            size += characters.applyAsLong(row);
            rows.add(row);
            if (rows.size() == ROWS_AT_ONCE || size > CHARACTERS_AT_ONCE) {
                receiver.accept(List.copyOf(rows));
                rows.clear();
                size = 0;
            }
        }
        if (!rows.isEmpty()) {
            receiver.accept(List.copyOf(rows));
        }
    }
}
