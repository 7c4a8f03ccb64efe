package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TokenStream;
import org.peft4j.task.ShownRow;
import org.peft4j.train.RowViewer;

/**
 * Rows as they will be trained: their text behind the chat template, their tokens, and which of them carry loss. Reads a model's
 * tokenizer and an adapter's settings, no weights. Safe from many threads; to be closed when no call runs.
 */
public final class RowPreview implements AutoCloseable {
    private final RowViewer viewer;

    private RowPreview(RowViewer viewer) {
        this.viewer = viewer;
    }

    /**
     * A row.
     *
     * @param where file and line, for people
     * @param rendered its text: of a conversation what the chat template makes of it; of a prompt and a response, or of two
     *     texts, one behind the other
     * @param ids the tokens that are read
     * @param trained for each of them 1 where it carries loss, else 0; null where that cannot be told, or is not asked of
     *     tokens. A text's first token is 0: only rows that an adapter inserts before it can tell it
     * @param pieces the text that each token adds
     * @param note why {@code trained} is null, or what else should be known; null for nothing
     */
    public record Shown(
            String where,
            String rendered,
            List<Integer> ids,
            @Nullable List<Integer> trained,
            List<String> pieces,
            @Nullable String note) {}

    /** Rows of a model without an adapter: whole ones of a language model, unless the options say otherwise. */
    public static RowPreview open(Path model, LoadedAdapter.Options options) throws IOException {
        return open(model, null, options);
    }

    /**
     * Rows of a model with an adapter.
     *
     * @param adapter the adapter, whose task and chat template count; null for none
     * @param options another task, settings of the task; rows are cut only where {@code max_length} is among them
     * @throws org.peft4j.error.ConfigException if an option does not fit
     * @throws org.peft4j.error.MalformedFileException if a file is not what it should be
     */
    public static RowPreview open(Path model, @Nullable Path adapter, LoadedAdapter.Options options)
            throws IOException {
        Objects.requireNonNull(model, "model");
        Objects.requireNonNull(options, "options");
        return new RowPreview(RowViewer.open(model, adapter, options.task(), options.settings()));
    }

    /** Rows of a run, cut as it cuts them; it need not have data. */
    public static RowPreview of(RunConfig config) throws IOException {
        return new RowPreview(RowViewer.of(Objects.requireNonNull(config, "config")));
    }

    /** The task's settings. */
    public TaskConfig task() {
        return viewer.task();
    }

    /** Most tokens of a row that are read, special tokens included. */
    public int maxLength() {
        return viewer.tokenizer().maxLength();
    }

    /**
     * Shows the rows of a file (JSONL, CSV, TSV, CoNLL; {@code -} is standard input), in order.
     *
     * @throws org.peft4j.error.MalformedFileException if a row is not what the task reads, or the chat template refuses it
     */
    public void show(Path data, Consumer<Shown> receiver) throws IOException {
        Objects.requireNonNull(data, "data");
        try (RowReader rows = RowReader.open(data, viewer.columns())) {
            show(rows, receiver);
        }
    }

    /** As {@link #show(Path, Consumer)}, of rows from memory; the stream is read once and closed. */
    public void show(Stream<? extends Map<String, ? extends @Nullable Object>> data, Consumer<Shown> receiver)
            throws IOException {
        Objects.requireNonNull(data, "data");
        try (RowReader rows = RowReader.of(data)) {
            show(rows, receiver);
        }
    }

    private void show(RowReader rows, Consumer<Shown> receiver) throws IOException {
        Objects.requireNonNull(receiver, "receiver");
        for (Row row = rows.next(); row != null; row = rows.next()) {
            ShownRow shown = viewer.show(row);
            receiver.accept(new Shown(
                    row.where(), shown.rendered(), shown.ids(), shown.trained(), pieces(shown.ids()), shown.note()));
        }
    }

    private List<String> pieces(List<Integer> ids) {
        TokenStream stream = viewer.tokenizer().stream(false);
        List<String> pieces = new ArrayList<>();
        ids.forEach(id -> pieces.add(stream.feed(id)));
        if (!pieces.isEmpty()) {
            pieces.set(pieces.size() - 1, pieces.get(pieces.size() - 1) + stream.end());
        }
        return pieces;
    }

    /** Frees the tokenizer. Closing twice does nothing. */
    @Override
    public void close() {
        viewer.close();
    }
}
