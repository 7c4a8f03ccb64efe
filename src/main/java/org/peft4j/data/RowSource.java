package org.peft4j.data;

import java.io.Closeable;
import java.io.IOException;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A file format, or rows from memory: gives rows as maps from column to value, in the order of the file. */
interface RowSource extends Closeable {
    /** The columns of the next row, or null after the last one. */
    @Nullable
    Map<String, @Nullable Object> next() throws IOException;

    /** Whether the next row, or the end, can be had without waiting for who writes it. */
    default boolean ready() throws IOException {
        return true;
    }

    /** The line that the last row given began at, or its place, from 1. */
    long line();
}
