package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.ModelConfig;

/**
 * Gives texts vectors: a base model with an adapter for embeddings or without one. Safe from many threads. {@link #close} waits
 * for the calls that run and frees what it opened; later
 * calls are refused with an {@link IllegalStateException}.
 */
public final class TextEmbedder implements AutoCloseable {
    private final LoadedAdapter adapter;
    private final @Nullable BaseModel owned;

    private TextEmbedder(LoadedAdapter adapter, @Nullable BaseModel owned) {
        this.adapter = adapter;
        this.owned = owned;
    }

    /**
     * Opens a model, with an adapter or without; pooling and normalisation are the adapter's, else those of the directory's
     * {@code modules.json}, else the mean, not normalised.
     */
    public static TextEmbedder open(Path model, @Nullable Path adapter) throws IOException {
        return open(model, adapter, LoadedAdapter.Options.defaults());
    }

    /** As {@link #open(Path, Path)}, with settings of the task: {@code pooling}, {@code normalize}, {@code max_length}. */
    public static TextEmbedder open(Path model, @Nullable Path adapter, LoadedAdapter.Options options)
            throws IOException {
        Objects.requireNonNull(model, "model");
        LoadedAdapter.Options own = options.withTask(EmbeddingConfig.TYPE);
        BaseModel base = BaseModel.open(ModelConfig.of(model), adapter);
        try {
            return new TextEmbedder(adapter == null ? base.plain(own) : base.load("the adapter", adapter, own), base);
        } catch (IOException | RuntimeException e) {
            base.close();
            throw e;
        }
    }

    /** An embedder on a model that is open already; closing it closes neither adapter nor model. */
    public static TextEmbedder of(LoadedAdapter adapter) {
        Faces.check(adapter, EmbeddingConfig.TYPE);
        return new TextEmbedder(adapter, null);
    }

    /** The vectors of some texts, in order, each as long as the model is wide. Texts longer than the limit are cut. */
    public List<float[]> embed(List<String> texts) {
        String column = ((EmbeddingConfig) adapter.task()).text();
        List<Map<String, @Nullable Object>> rows = Faces.rows(texts, column);
        List<float[]> vectors = new ArrayList<>();
        for (int from = 0; from < rows.size(); from += TextClassifier.DEFAULT_BATCH) {
            List<Map<String, @Nullable Object>> batch =
                    rows.subList(from, Math.min(rows.size(), from + TextClassifier.DEFAULT_BATCH));
            for (BaseModel.Answer answer :
                    Faces.answer(Collections.nCopies(batch.size(), adapter), batch, Faces.texts(from, rows.size()))) {
                vectors.add(vector(answer.columns()));
            }
        }
        return vectors;
    }

    @SuppressWarnings("unchecked") // what the task writes
    private static float[] vector(Map<String, @Nullable Object> columns) {
        List<Float> numbers = (List<Float>) Objects.requireNonNull(columns.get("embedding"));
        float[] vector = new float[numbers.size()];
        for (int i = 0; i < vector.length; i++) {
            vector[i] = numbers.get(i);
        }
        return vector;
    }

    /** The vector of one text, as long as the model is wide. */
    public float[] embed(String text) {
        return embed(List.of(text)).get(0);
    }

    /** Most tokens of a text that are read, special tokens included. */
    public int maxLength() {
        return adapter.maxLength();
    }

    /** What a user should know about model and adapter. */
    public List<String> notes() {
        return Faces.notes(adapter, owned);
    }

    /** Frees what it opened, once no call uses it. Closing twice does nothing. */
    @Override
    public void close() {
        if (owned != null) {
            owned.close();
        }
    }
}
