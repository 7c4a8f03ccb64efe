package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.metrics.Evaluation;

/**
 * Gives each word of a text a tag: a base model with an adapter for token classification, or with a head of its own. Safe from
 * many threads. {@link #close} waits for the calls that run and frees what it opened; later
 * calls are refused with an {@link IllegalStateException}.
 */
public final class TokenTagger implements AutoCloseable {
    private final LoadedAdapter adapter;
    private final @Nullable BaseModel owned;

    private TokenTagger(LoadedAdapter adapter, @Nullable BaseModel owned) {
        this.adapter = adapter;
        this.owned = owned;
    }

    /** Opens a model with an adapter, or without one if the model directory has a tagger of its own. */
    public static TokenTagger open(Path model, @Nullable Path adapter) throws IOException {
        return open(model, adapter, LoadedAdapter.Options.defaults());
    }

    /** As {@link #open(Path, Path)}, with settings of the task: {@code labels}, {@code max_length}. */
    public static TokenTagger open(Path model, @Nullable Path adapter, LoadedAdapter.Options options)
            throws IOException {
        Objects.requireNonNull(model, "model");
        LoadedAdapter.Options own = options.withTask(TokenClassificationConfig.TYPE);
        BaseModel base = BaseModel.open(ModelConfig.of(model), adapter);
        try {
            return new TokenTagger(adapter == null ? base.plain(own) : base.load("the adapter", adapter, own), base);
        } catch (IOException | RuntimeException e) {
            base.close();
            throw e;
        }
    }

    /** A tagger on a model that is open already; closing it closes neither adapter nor model. */
    public static TokenTagger of(LoadedAdapter adapter) {
        Faces.check(adapter, TokenClassificationConfig.TYPE);
        return new TokenTagger(adapter, null);
    }

    /** The tags that words can have. */
    public List<String> labels() {
        return adapter.labels();
    }

    /**
     * The tags of some texts' words, in order; null for a word that was cut, or that the tokenizer has no token for.
     *
     * @param texts the words of each text
     */
    public List<List<@Nullable String>> tag(List<? extends List<String>> texts) {
        String column = ((TokenClassificationConfig) adapter.task()).words();
        List<Map<String, @Nullable Object>> rows = Faces.rows(texts, column);
        List<List<@Nullable String>> tags = new ArrayList<>();
        for (int from = 0; from < rows.size(); from += TextClassifier.DEFAULT_BATCH) {
            List<Map<String, @Nullable Object>> batch =
                    rows.subList(from, Math.min(rows.size(), from + TextClassifier.DEFAULT_BATCH));
            for (BaseModel.Answer answer :
                    Faces.answer(Collections.nCopies(batch.size(), adapter), batch, Faces.texts(from, rows.size()))) {
                tags.add(tags(answer.columns()));
            }
        }
        return tags;
    }

    @SuppressWarnings("unchecked") // what the task writes
    private static List<@Nullable String> tags(Map<String, @Nullable Object> columns) {
        return (List<@Nullable String>) Objects.requireNonNull(columns.get("tags"));
    }

    /** How well it does on rows with tags, in the columns it was trained on. */
    public Evaluation evaluate(Path data) throws IOException {
        return adapter.evaluate(data, TextClassifier.DEFAULT_BATCH);
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
