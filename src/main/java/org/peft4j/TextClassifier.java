package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.function.BiConsumer;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.DataConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.Dataset;
import org.peft4j.data.Labels;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.error.TrainingException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.BaseHash;
import org.peft4j.io.ModelDirectory;
import org.peft4j.lifetime.Lease;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.run.Evaluation;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.train.Inference;
import org.peft4j.train.OutputLabels;

/**
 * A trained classifier: a base model, with an adapter or without. Safe from many threads. {@link #close} waits for the calls
 * that run and frees the memory; later calls are refused with an {@link IllegalStateException}.
 */
public final class TextClassifier implements AutoCloseable {
    private static final int DEFAULT_BATCH = 16;

    /**
     * How to use a classifier. What is null or empty is taken from the adapter's own settings ({@code peft4j.json}), else
     * from the model's config.
     *
     * @param maxLength most tokens of a text, special tokens included; where nothing says otherwise, as many as model and
     *     tokenizer take
     * @param batchSize texts that go through the model at once
     * @param dtype form of the frozen weights
     * @param labels names of the classes, in the order of the logits
     */
    public record Options(@Nullable Integer maxLength, int batchSize, TrainingConfig.Dtype dtype, List<String> labels) {
        public Options {
            if (maxLength != null && maxLength < 1) {
                throw new IllegalArgumentException("maxLength must be at least 1, got " + maxLength);
            }
            if (batchSize < 1) {
                throw new IllegalArgumentException("batchSize must be at least 1, got " + batchSize);
            }
            labels = List.copyOf(labels);
        }

        /** The adapter's settings, batches of 16, float32. */
        public static Options defaults() {
            return new Options(null, DEFAULT_BATCH, TrainingConfig.Dtype.FLOAT32, List.of());
        }

        public Options withMaxLength(@Nullable Integer value) {
            return new Options(value, batchSize, dtype, labels);
        }

        public Options withBatchSize(int value) {
            return new Options(maxLength, value, dtype, labels);
        }

        public Options withDtype(TrainingConfig.Dtype value) {
            return new Options(maxLength, batchSize, value, labels);
        }

        public Options withLabels(List<String> value) {
            return new Options(maxLength, batchSize, dtype, value);
        }
    }

    /**
     * The class of a text.
     *
     * @param label the most likely class
     * @param logits one number for each class, in the order of {@link #labels()}
     * @param cut whether the text was longer than the limit, so that its end was not read
     */
    public record Prediction(String label, List<Float> logits, boolean cut) {}

    private final HeadedModel model;
    private final @Nullable Adapter adapter;
    private final TextTokenizer tokenizer;
    private final Labels labels;
    private final Options options;
    private final AdapterSettings settings;
    private final List<String> notes;
    private final Lease lease;

    private TextClassifier(
            HeadedModel model,
            @Nullable Adapter adapter,
            TextTokenizer tokenizer,
            Labels labels,
            Options options,
            AdapterSettings settings,
            List<String> notes) {
        this.model = model;
        this.adapter = adapter;
        this.tokenizer = tokenizer;
        this.labels = labels;
        this.options = options;
        this.settings = settings;
        this.notes = List.copyOf(notes);
        lease = new Lease("this classifier", this::free);
    }

    /** Opens a model with an adapter, with the adapter's own settings. */
    public static TextClassifier open(Path model, Path adapter) throws IOException {
        return open(model, adapter, Options.defaults());
    }

    /**
     * Opens a model with an adapter, or without one if the model directory has a classifier of its own.
     *
     * @throws MalformedFileException if model and adapter do not fit, or a file is not what it should be
     * @throws ConfigException if an option does not fit them
     */
    public static TextClassifier open(Path modelPath, @Nullable Path adapterPath, Options options) throws IOException {
        Objects.requireNonNull(modelPath, "model");
        Objects.requireNonNull(options, "options");
        ModelDirectory directory = ModelDirectory.open(modelPath);
        AdapterFile file = adapterPath == null ? null : AdapterFiles.read(adapterPath);
        AdapterSettings settings =
                file == null ? null : AdapterSettings.read(file.directory()).orElse(null);
        List<String> notes = new ArrayList<>();
        if (settings != null && settings.baseHash() != null) {
            settings.otherBase(BaseHash.of(directory)).ifPresent(notes::add);
        }
        OutputLabels outputs = new OutputLabels(directory, file, settings);
        Labels labels = outputs.forUse(options.labels());
        boolean bfloat16 = options.dtype() == TrainingConfig.Dtype.BFLOAT16;
        HeadedModel model = HeadedModel.open(
                directory,
                new ModelOptions(bfloat16, false, 0),
                HeadKind.SEQUENCE,
                new HeadOptions(labels.size(), outputs.adapterHead() > 0));
        notes.addAll(model.model().notes());
        AdapterStore.Loaded loaded = null;
        try {
            if (file != null) {
                loaded = AdapterStore.read(file, "default", model.points());
                notes.addAll(loaded.notes());
            } else if (!model.points().fresh().isEmpty()) {
                throw new MalformedFileException(
                        modelPath,
                        -1,
                        "model has no " + String.join(" and no ", model.points().fresh())
                                + ", so it cannot classify by itself; give an adapter trained on it (--adapter)");
            }
            Adapter adapter = loaded == null ? null : loaded.adapter();
            int maxLength = maxLength(options, settings, room(model, adapter), TextTokenizer.modelMaxLength(directory));
            AdapterSettings used = settings != null
                    ? settings
                    : new AdapterSettings(labels.names(), maxLength, DataConfig.TEXT, DataConfig.LABEL, null);
            TextTokenizer tokenizer = TextTokenizer.open(directory, maxLength);
            notes.addAll(tokenizer.notes());
            return new TextClassifier(model, adapter, tokenizer, labels, options, used, notes);
        } catch (IOException | RuntimeException e) {
            if (loaded != null) {
                loaded.adapter().close();
            }
            model.close();
            throw e;
        }
    }

    private static int room(HeadedModel model, @Nullable Adapter adapter) {
        return model.model().info().maxPositions() - (adapter == null ? 0 : adapter.positions());
    }

    private static int maxLength(
            Options options, @Nullable AdapterSettings settings, int room, OptionalInt tokenizers) {
        Integer chosen = options.maxLength();
        if (chosen == null && settings == null) {
            return Math.min(room, tokenizers.orElse(room));
        }
        int wanted = chosen != null ? chosen : settings.maxLength();
        if (wanted > room) {
            throw new ConfigException(
                    "max_length must be at most " + room + " for this model and adapter, got " + wanted
                            + (chosen != null
                                    ? ""
                                    : " from the adapter's " + AdapterSettings.FILE
                                            + "; give a smaller one (--max-length, Options.withMaxLength)"));
        }
        return wanted;
    }

    /** Names of the classes, in the order of the logits. */
    public List<String> labels() {
        return labels.names();
    }

    /** What a user should know about the adapter. */
    public List<String> notes() {
        return notes;
    }

    /** The column of the text that the adapter was trained on. */
    public String textColumn() {
        return settings.text();
    }

    /** Most tokens of a text that are read, special tokens included. */
    public int maxLength() {
        return tokenizer.maxLength();
    }

    /**
     * The classes of some texts, in order. Texts longer than the limit are cut, and say so.
     *
     * @throws TrainingException if the model computes numbers that are not finite
     */
    public List<Prediction> predict(List<String> texts) {
        Objects.requireNonNull(texts, "texts");
        for (int i = 0; i < texts.size(); i++) {
            if (texts.get(i) == null) {
                throw new NullPointerException("texts[" + i + "]");
            }
        }
        return predict(texts, i -> "text " + (i + 1) + " of " + texts.size());
    }

    private List<Prediction> predict(List<String> texts, IntFunction<String> where) {
        List<Prediction> predictions = new ArrayList<>();
        try (Lease.Held held = lease.take()) {
            List<TextTokenizer.Tokens> tokens = tokenizer.encode(texts, where);
            List<int[]> numbers =
                    tokens.stream().map(TextTokenizer.Tokens::tokens).toList();
            for (int i = 0; i < numbers.size(); i++) {
                Dataset.checkVocabulary(numbers.get(i), model.model().info().vocabulary(), where, i);
            }
            Inference.forEach(model, adapter, numbers, options.batchSize(), where, (i, logits) -> {
                List<Float> values = new ArrayList<>();
                int best = 0;
                for (int c = 0; c < logits.length; c++) {
                    values.add(logits[c]);
                    best = logits[c] > logits[best] ? c : best;
                }
                predictions.add(new Prediction(
                        labels.names().get(best),
                        List.copyOf(values),
                        tokens.get(i).cut()));
            });
        }
        return predictions;
    }

    /**
     * Classifies the rows of a file, JSONL or CSV, batch by batch; labels are not needed. The receiver gets each
     * row's columns and its class, in order.
     *
     * @param textColumn the column of the text, or null for the one trained on
     */
    public void predict(
            Path data, @Nullable String textColumn, BiConsumer<Map<String, @Nullable Object>, Prediction> receiver)
            throws IOException {
        Objects.requireNonNull(data, "data");
        Objects.requireNonNull(receiver, "receiver");
        List<Row> rows = new ArrayList<>();
        try (Lease.Held held = lease.take();
                RowReader reader = RowReader.open(data, textColumn == null ? settings.text() : textColumn, null)) {
            Row row = reader.next();
            while (row != null) {
                rows.add(row);
                row = reader.next();
                if (row == null || rows.size() >= options.batchSize()) {
                    List<Prediction> predictions = predict(
                            rows.stream().map(Row::text).toList(),
                            i -> rows.get(i).where());
                    for (int i = 0; i < rows.size(); i++) {
                        receiver.accept(rows.get(i).fields(), predictions.get(i));
                    }
                    rows.clear();
                }
            }
        }
    }

    /** The class of one text. */
    public Prediction predict(String text) {
        Objects.requireNonNull(text, "text");
        return predict(List.of(text)).get(0);
    }

    /** How well it does on labelled rows; JSONL or CSV with the columns it was trained on. */
    public Evaluation evaluate(Path data) throws IOException {
        return evaluate(data, null, null);
    }

    /** As {@link #evaluate(Path)}, with other columns; null takes the trained ones. */
    public Evaluation evaluate(Path data, @Nullable String textColumn, @Nullable String labelColumn)
            throws IOException {
        Objects.requireNonNull(data, "data");
        try (Lease.Held held = lease.take()) {
            Dataset rows = Dataset.read(
                    data,
                    textColumn == null ? settings.text() : textColumn,
                    labelColumn == null ? settings.label() : labelColumn,
                    labels,
                    tokenizer);
            rows.checkVocabulary(model.model().info().vocabulary());
            return Inference.evaluate(model, adapter, rows, labels, options.batchSize());
        }
    }

    /** Frees model, adapter and tokenizer once no call uses them. Closing twice does nothing. */
    @Override
    public void close() {
        lease.close();
    }

    private void free() {
        tokenizer.close();
        if (adapter != null) {
            adapter.close();
        }
        model.close();
    }
}
