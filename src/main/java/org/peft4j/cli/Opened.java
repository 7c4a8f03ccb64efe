package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.BaseModel;
import org.peft4j.LoadedAdapter;
import org.peft4j.RowComposition;
import org.peft4j.error.ConfigException;

/**
 * A model with what answers on it.
 *
 * @param one the adapter; null where several share the rows
 * @param shared those; null where there is one
 */
record Opened(
        BaseModel base,
        @Nullable LoadedAdapter one,
        @Nullable RowComposition shared) implements AutoCloseable {
    /** One adapter, or a composition that acts as one. */
    static Opened of(BaseModel base, LoadedAdapter adapter, Consumer<String> notes) {
        adapter.notes().forEach(notes);
        return new Opened(base, adapter, null);
    }

    /** Several that share the rows. */
    static Opened of(BaseModel base, RowComposition shared, Consumer<String> notes) {
        shared.notes().forEach(notes);
        return new Opened(base, null, shared);
    }

    /**
     * The adapter that all rows have.
     *
     * @param command for the message
     * @throws ConfigException if several share the rows
     */
    LoadedAdapter adapter(String command) {
        if (one == null) {
            throw new ConfigException(command
                    + " takes one adapter for all rows, or a composition for the same rows (Stack,"
                    + " Average, Split); --compose says " + shared + ". Parallel and BatchSplit are for predict, score"
                    + " and embed, Parallel for evaluate, too");
        }
        return one;
    }

    /** All that answer. */
    List<LoadedAdapter> adapters() {
        if (one != null) {
            return List.of(one);
        }
        RowComposition all = Objects.requireNonNull(shared);
        return IntStream.range(0, all.branches().size())
                .mapToObj(all::adapters)
                .flatMap(List::stream)
                .distinct()
                .toList();
    }

    /** The fewest tokens that one of them reads of a row at most. */
    int maxLength() {
        return adapters().stream().mapToInt(LoadedAdapter::maxLength).min().orElseThrow();
    }

    /** As {@link LoadedAdapter#answer(Path, int, LoadedAdapter.Receiver)}; of several branches each column begins with its branch. */
    void answer(Path data, int batchSize, LoadedAdapter.Receiver receiver) throws IOException {
        if (one != null) {
            one.answer(data, batchSize, receiver);
            return;
        }
        RowComposition all = Objects.requireNonNull(shared);
        List<String> branches = all.branches();
        all.answer(data, batchSize, (row, said, cut) -> {
            if (branches.size() == 1) {
                receiver.accept(row, said.get(0), cut);
                return;
            }
            Map<String, @Nullable Object> columns = new LinkedHashMap<>();
            for (int i = 0; i < branches.size(); i++) {
                String branch = branches.get(i);
                said.get(i).forEach((column, value) -> columns.put(branch + "." + column, value));
            }
            receiver.accept(row, columns, cut);
        });
    }

    @Override
    public void close() {
        base.close();
    }
}
