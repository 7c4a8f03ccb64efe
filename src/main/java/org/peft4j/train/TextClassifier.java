package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Dataset;
import org.peft4j.data.Labels;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.AdapterStore;
import org.peft4j.model.ClassificationModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Models;
import org.peft4j.nn.Adapter;

/**
 * A trained classifier: a base model, with an adapter or without. Safe from many threads until {@link #close}, after which
 * it must not be used.
 */
public final class TextClassifier implements AutoCloseable {
    private static final int DEFAULT_BATCH = 16;

    /**
     * How to use a classifier. What is null or empty is taken from the adapter's own settings ({@code peft4j.json}), else
     * from the model's config.
     *
     * @param maxLength most tokens of a text, special tokens included
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
     */
    public record Prediction(String label, List<Float> logits) {}

    private final ClassificationModel model;
    private final @Nullable Adapter adapter;
    private final TextTokenizer tokenizer;
    private final Labels labels;
    private final Options options;
    private final AdapterSettings settings;
    private final List<String> notes;

    private TextClassifier(
            ClassificationModel model,
            AdapterStore.@Nullable Loaded adapter,
            TextTokenizer tokenizer,
            Labels labels,
            Options options,
            AdapterSettings settings) {
        this.model = model;
        this.adapter = adapter == null ? null : adapter.adapter();
        this.tokenizer = tokenizer;
        this.labels = labels;
        this.options = options;
        this.settings = settings;
        notes = adapter == null ? List.of() : List.copyOf(adapter.notes());
    }

    /** Opens a model with an adapter, with the adapter's own settings. */
    public static TextClassifier open(Path model, Path adapter) throws IOException {
        return open(model, adapter, Options.defaults());
    }

    /**
     * Opens a model with an adapter, or without one if the model directory has a classifier of its own.
     *
     * @throws MalformedFileException if model and adapter do not fit, or a file is not what it should be
     */
    public static TextClassifier open(Path modelPath, @Nullable Path adapterPath, Options options) throws IOException {
        ModelDirectory directory = ModelDirectory.open(modelPath);
        AdapterSettings settings =
                adapterPath == null ? null : AdapterSettings.read(adapterPath).orElse(null);
        AdapterFile file = adapterPath == null ? null : AdapterFiles.read(adapterPath);
        Labels labels = labels(directory, file, settings, options.labels());
        boolean bfloat16 = options.dtype() == TrainingConfig.Dtype.BFLOAT16;
        ClassificationModel model =
                Models.family(directory).classification(directory, labels.size(), new ModelOptions(bfloat16, false, 0));
        AdapterStore.Loaded adapter = null;
        try {
            if (file != null) {
                adapter = AdapterStore.read(file, "default", model.points());
            } else if (!model.points().fresh().isEmpty()) {
                throw new MalformedFileException(
                        modelPath,
                        -1,
                        "model has no " + String.join(" and no ", model.points().fresh())
                                + ", so it cannot classify by itself; give an adapter trained on it (--adapter)");
            }
            int room = model.maxPositions()
                    - (adapter == null ? 0 : adapter.adapter().positions());
            int wanted = options.maxLength() != null
                    ? options.maxLength()
                    : settings != null ? settings.maxLength() : Math.min(room, DataConfig.MAX_LENGTH);
            if (wanted > room) {
                throw new IllegalArgumentException(
                        "max-length must be at most " + room + " for this model and adapter, got " + wanted);
            }
            AdapterSettings used = settings != null
                    ? settings
                    : new AdapterSettings(labels.names(), wanted, DataConfig.TEXT, DataConfig.LABEL);
            return new TextClassifier(
                    model, adapter, TextTokenizer.open(directory.tokenizerFile(), wanted), labels, options, used);
        } catch (IOException | RuntimeException e) {
            if (adapter != null) {
                adapter.adapter().close();
            }
            model.close();
            throw e;
        }
    }

    /**
     * Names of the classes, from the caller, else the adapter's settings, else the model's id2label; their number then
     * comes from the adapter's classifier.
     */
    static Labels labels(
            ModelDirectory directory,
            @Nullable AdapterFile adapter,
            @Nullable AdapterSettings settings,
            List<String> chosen)
            throws IOException {
        if (!chosen.isEmpty()) {
            return Labels.of(chosen);
        }
        if (settings != null) {
            return Labels.of(settings.labels());
        }
        List<String> names = new ArrayList<>();
        if (directory.config().get("id2label") instanceof Map<?, ?> map) {
            TreeMap<Integer, String> sorted = new TreeMap<>();
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                try {
                    sorted.put(Integer.valueOf(String.valueOf(entry.getKey())), String.valueOf(entry.getValue()));
                } catch (NumberFormatException e) {
                    throw new MalformedFileException(
                            directory.directory().resolve("config.json"),
                            -1,
                            "id2label must have numbers as keys, got '" + entry.getKey() + "'");
                }
            }
            names.addAll(sorted.values());
        }
        int classes = adapter == null ? names.size() : classes(adapter, names.size());
        if (names.size() != classes || names.size() < 2) {
            names.clear();
            for (int i = 0; i < Math.max(2, classes); i++) {
                names.add("LABEL_" + i); // as transformers names them
            }
        }
        return Labels.of(names);
    }

    private static int classes(AdapterFile adapter, int fallback) {
        return adapter.tensors().entrySet().stream()
                .filter(entry -> entry.getKey().endsWith(".classifier.weight")
                        && entry.getValue().shape().size() == 2)
                .map(entry ->
                        (int) Math.min(Labels.MAX, entry.getValue().shape().get(0)))
                .findFirst()
                .orElse(fallback);
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

    /** The classes of some texts, in order. Texts longer than the limit are cut. */
    public List<Prediction> predict(List<String> texts) {
        List<Prediction> predictions = new ArrayList<>();
        List<int[]> tokens = tokenizer.encode(texts).stream()
                .map(TextTokenizer.Tokens::tokens)
                .toList();
        Inference.forEach(model, adapter, tokens, options.batchSize(), (i, logits) -> {
            List<Float> values = new ArrayList<>();
            int best = 0;
            for (int c = 0; c < logits.length; c++) {
                values.add(logits[c]);
                best = logits[c] > logits[best] ? c : best;
            }
            predictions.add(new Prediction(labels.names().get(best), List.copyOf(values)));
        });
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
        List<Row> rows = new ArrayList<>();
        try (RowReader reader = RowReader.open(data, textColumn == null ? settings.text() : textColumn, null)) {
            Row row = reader.next();
            while (row != null) {
                rows.add(row);
                row = reader.next();
                if (row == null || rows.size() >= options.batchSize()) {
                    List<Prediction> predictions =
                            predict(rows.stream().map(Row::text).toList());
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
        return predict(List.of(text)).get(0);
    }

    /** How well it does on labelled rows; JSONL or CSV with the columns it was trained on. */
    public Evaluation evaluate(Path data) throws IOException {
        return evaluate(data, null, null);
    }

    /** As {@link #evaluate(Path)}, with other columns; null takes the trained ones. */
    public Evaluation evaluate(Path data, @Nullable String textColumn, @Nullable String labelColumn)
            throws IOException {
        Dataset rows = Dataset.read(
                data,
                textColumn == null ? settings.text() : textColumn,
                labelColumn == null ? settings.label() : labelColumn,
                labels,
                tokenizer);
        return Inference.evaluate(model, adapter, rows, labels, options.batchSize());
    }

    @Override
    public void close() {
        tokenizer.close();
        if (adapter != null) {
            adapter.close();
        }
        model.close();
    }
}
