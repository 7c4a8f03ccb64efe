package org.peft4j.data;

import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Rows from memory: each is copied, so that what a caller does with its map later changes nothing here. */
final class MapRows implements RowSource {
    private final Iterator<? extends Map<String, ? extends @Nullable Object>> rows;
    private final Runnable close;
    private long number;

    MapRows(Iterator<? extends Map<String, ? extends @Nullable Object>> rows, Runnable close) {
        this.rows = rows;
        this.close = close;
    }

    @Override
    public @Nullable Map<String, @Nullable Object> next() {
        if (!rows.hasNext()) {
            return null;
        }
        number++;
        Map<String, ? extends @Nullable Object> row = rows.next();
        if (row == null) {
            throw RowPlaces.wrong(RowPlaces.STREAM, number, "expected a map from column to value, received null");
        }
        return Collections.unmodifiableMap(new LinkedHashMap<>(row));
    }

    @Override
    public long line() {
        return number;
    }

    @Override
    public void close() {
        close.run();
    }
}
