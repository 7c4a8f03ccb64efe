package org.peft4j.task.embedding;

import java.io.IOException;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.Pooling;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ModelDirectory;
import org.peft4j.task.Origin;
import org.peft4j.task.ShownRow;
import org.peft4j.task.TaskType;

/** Embedding: how rows become a vector is the caller's choice, else the adapter's, else what the model directory says. */
public final class EmbeddingType implements TaskType<EmbeddingConfig> {
    static final String PEFT_NAME = "FEATURE_EXTRACTION";

    @Override
    public String name() {
        return EmbeddingConfig.TYPE;
    }

    @Override
    public String peftName() {
        return PEFT_NAME;
    }

    @Override
    public Class<EmbeddingConfig> configType() {
        return EmbeddingConfig.class;
    }

    @Override
    public EmbeddingConfig defaults() {
        return EmbeddingConfig.defaults();
    }

    @Override
    public Prepared<?> prepare(
            EmbeddingConfig config, Origin origin, Rows train, @Nullable Rows validation, TextTokenizer tokenizer)
            throws IOException {
        Embedding task = use(config, origin);
        return new Prepared<>(
                task, read(task, train, tokenizer), validation == null ? null : read(task, validation, tokenizer));
    }

    private static org.peft4j.task.Dataset<EmbeddedExample> read(Embedding task, Rows rows, TextTokenizer tokenizer)
            throws IOException {
        try (RowReader reader = rows.open(task.answeredColumns())) {
            org.peft4j.task.Dataset<EmbeddedExample> data = task.read(reader, tokenizer);
            if (data.size() < 2 && !task.sumsOverRows()) {
                throw new ConfigException("in-batch negatives need at least two rows, " + reader.file() + " has one");
            }
            return data;
        }
    }

    @Override
    public Embedding use(EmbeddingConfig config, Origin origin) throws IOException {
        EmbeddingConfig saved = origin.saved(EmbeddingConfig.class);
        SentenceModules modules = SentenceModules.read(origin.directory().directory());
        Pooling pooling = config.pooling();
        if (pooling == null) {
            pooling = saved != null && saved.pooling() != null ? saved.pooling() : modules.pooling();
        }
        Boolean normalize = config.normalize();
        if (normalize == null) {
            normalize = saved != null && saved.normalize() != null ? saved.normalize() : modules.normalize();
        }
        if (pooling == Pooling.FIRST && origin.model().info().causal()) {
            throw new ConfigException("pooling first reads a row that sees nothing but itself in a model whose rows see"
                    + " only what is before them; take last or mean");
        }
        return new Embedding(
                config.toBuilder().pooling(pooling).normalize(normalize).build());
    }

    @Override
    public ShownRow.Viewer viewer(EmbeddingConfig config, ModelDirectory directory, @Nullable AdapterFile adapter) {
        return (rows, tokenizer) -> {
            List<Tokens> texts = Embedding.tokens(rows, config.text(), tokenizer);
            List<Tokens> positives = Embedding.tokens(rows, config.positive(), tokenizer);
            return IntStream.range(0, rows.size())
                    .mapToObj(i -> ShownRow.whole(
                            rows.get(i).text(config.text()) + "\n" + rows.get(i).text(config.positive()),
                            IntStream.concat(
                                            IntStream.of(texts.get(i).tokens()),
                                            IntStream.of(positives.get(i).tokens()))
                                    .toArray(),
                            "two texts of " + texts.get(i).tokens().length + " and "
                                    + positives.get(i).tokens().length
                                    + " tokens; the loss is of their vectors, not of tokens"))
                    .toList();
        };
    }
}
