package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.Dtype;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.ProblemType;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.metrics.Evaluation;

/**
 * Gives texts labels: a base model with an adapter for sequence classification, or with a head of its own. Safe from many
 * threads. {@link #close} waits for the calls that run and frees the memory; later calls are refused with an {@link
 * IllegalStateException}.
 */
public final class TextClassifier implements AutoCloseable {
    static final int DEFAULT_BATCH = 16;

    /**
     * How to use a classifier. What is null or empty is taken from the adapter's own settings ({@code peft4j.json}), else
     * from the model's config.
     *
     * @param maxLength most tokens of a text, special tokens included; where nothing says otherwise, as many as model and
     *     tokenizer take
     * @param batchSize texts that go through the model at once
     * @param dtype form of the frozen weights
     * @param device where to compute, as {@link ModelConfig#device}
     * @param labels names of the classes, in the order of the logits
     */
    public record Options(@Nullable Integer maxLength, int batchSize, Dtype dtype, String device, List<String> labels) {
        public Options {
            if (maxLength != null && maxLength < 1) {
                throw new IllegalArgumentException("maxLength must be at least 1, got " + maxLength);
            }
            if (batchSize < 1) {
                throw new IllegalArgumentException("batchSize must be at least 1, got " + batchSize);
            }
            ModelConfig.checkDevice(device);
            labels = List.copyOf(labels);
        }

        /** The adapter's settings, batches of 16, float32, on the first card that can be used, else the CPU. */
        public static Options defaults() {
            return new Options(null, DEFAULT_BATCH, Dtype.FLOAT32, ModelConfig.AUTO, List.of());
        }

        /** The same with another limit of tokens; null for the saved one. */
        public Options withMaxLength(@Nullable Integer value) {
            return new Options(value, batchSize, dtype, device, labels);
        }

        /** The same with so many texts at once. */
        public Options withBatchSize(int value) {
            return new Options(maxLength, value, dtype, device, labels);
        }

        /** The same with weights in another form. */
        public Options withDtype(Dtype value) {
            return new Options(maxLength, batchSize, value, device, labels);
        }

        /** The same on another device. */
        public Options withDevice(String value) {
            return new Options(maxLength, batchSize, dtype, value, labels);
        }

        /** The same with these names of the classes, in the order of the logits. */
        public Options withLabels(List<String> value) {
            return new Options(maxLength, batchSize, dtype, device, value);
        }

        private LoadedAdapter.Options adapter() {
            LoadedAdapter.Options options =
                    LoadedAdapter.Options.defaults().withTask(SequenceClassificationConfig.TYPE);
            options = maxLength == null ? options : options.withMaxLength(maxLength);
            return labels.isEmpty() ? options : options.withLabels(labels);
        }
    }

    /**
     * What is said of a text.
     *
     * @param labels the most likely class; of a multi-label model those whose probability is above one half; none of a
     *     regression
     * @param logits one number for each class, in the order of {@link TextClassifier#labels()}; of a regression the number
     * @param probabilities of the classes, in the same order; none of a regression
     * @param cut whether the text was longer than the limit, so that its end was not read
     */
    public record Prediction(List<String> labels, List<Float> logits, List<Float> probabilities, boolean cut) {
        /**
         * The most likely class.
         *
         * @throws IllegalStateException if the model gives a text any number of labels, or a number
         */
        public String label() {
            if (labels.size() != 1) {
                throw new IllegalStateException("not one label but " + labels + "; ask for labels() or value()");
            }
            return labels.get(0);
        }

        /** The number of a regression. */
        public float value() {
            if (logits.size() != 1) {
                throw new IllegalStateException("the model gives labels, not a number; ask for labels()");
            }
            return logits.get(0);
        }
    }

    private final LoadedAdapter adapter;
    private final SequenceClassificationConfig task;
    private final int batchSize;
    private final @Nullable BaseModel owned;

    private TextClassifier(LoadedAdapter adapter, int batchSize, @Nullable BaseModel owned) {
        this.adapter = adapter;
        this.task = (SequenceClassificationConfig) adapter.task();
        this.batchSize = batchSize;
        this.owned = owned;
    }

    /** Opens a model with an adapter, with the adapter's own settings. */
    public static TextClassifier open(Path model, Path adapter) throws IOException {
        return open(model, adapter, Options.defaults());
    }

    /**
     * Opens a model with an adapter, or without one if the model directory has a classifier of its own.
     *
     * @throws org.peft4j.error.MalformedFileException if model and adapter do not fit, or a file is not what it should be
     * @throws org.peft4j.error.ConfigException if an option does not fit them
     */
    public static TextClassifier open(Path model, @Nullable Path adapter, Options options) throws IOException {
        Objects.requireNonNull(model, "model");
        Objects.requireNonNull(options, "options");
        BaseModel base =
                BaseModel.open(ModelConfig.of(model).withDtype(options.dtype()).withDevice(options.device()), adapter);
        try {
            LoadedAdapter loaded = adapter == null
                    ? base.plain(options.adapter())
                    : base.load("the adapter", adapter, options.adapter());
            return new TextClassifier(loaded, options.batchSize(), base);
        } catch (IOException | RuntimeException e) {
            base.close();
            throw e;
        }
    }

    /**
     * A classifier on a model that is open already; closing it closes neither adapter nor model.
     *
     * @throws org.peft4j.error.ConfigException if the adapter was loaded for another task
     */
    public static TextClassifier of(LoadedAdapter adapter) {
        Faces.check(adapter, SequenceClassificationConfig.TYPE);
        return new TextClassifier(adapter, DEFAULT_BATCH, null);
    }

    /** Names of the classes, in the order of the logits. */
    public List<String> labels() {
        return adapter.labels();
    }

    /** What a user should know about model and adapter. */
    public List<String> notes() {
        return Faces.notes(adapter, owned);
    }

    /** The column of the text that the adapter was trained on. */
    public String textColumn() {
        return task.text();
    }

    /** Most tokens of a text that are read, special tokens included. */
    public int maxLength() {
        return adapter.maxLength();
    }

    /**
     * What is said of some texts, in order. Texts longer than the limit are cut, and say so.
     *
     * @throws org.peft4j.error.TrainingException if the model computes numbers that are not finite
     */
    public List<Prediction> predict(List<String> texts) {
        return answers(Collections.nCopies(texts.size(), adapter), Faces.rows(texts, task.text()));
    }

    /**
     * As {@link #predict(List)}, each text with an adapter of its own, all of one model, in one pass.
     *
     * @param adapterOf for each text its adapter, loaded for sequence classification
     */
    public static List<Prediction> predict(List<String> texts, List<LoadedAdapter> adapterOf) {
        if (texts.size() != adapterOf.size()) {
            throw new IllegalArgumentException(texts.size() + " texts need as many adapters, got " + adapterOf.size());
        }
        List<Map<String, @Nullable Object>> rows = new ArrayList<>();
        for (int i = 0; i < texts.size(); i++) {
            Faces.check(adapterOf.get(i), SequenceClassificationConfig.TYPE);
            String column = ((SequenceClassificationConfig) adapterOf.get(i).task()).text();
            rows.addAll(Faces.rows(List.of(texts.get(i)), column));
        }
        return texts.isEmpty() ? List.of() : of(adapterOf, Faces.answer(adapterOf, rows, Faces.texts(0, rows.size())));
    }

    private List<Prediction> answers(List<LoadedAdapter> adapterOf, List<Map<String, @Nullable Object>> rows) {
        List<Prediction> all = new ArrayList<>();
        for (int from = 0; from < rows.size(); from += batchSize) {
            int to = Math.min(rows.size(), from + batchSize);
            all.addAll(of(
                    adapterOf.subList(from, to),
                    Faces.answer(adapterOf.subList(from, to), rows.subList(from, to), Faces.texts(from, rows.size()))));
        }
        return all;
    }

    private static List<Prediction> of(List<LoadedAdapter> adapterOf, List<BaseModel.Answer> answers) {
        List<Prediction> predictions = new ArrayList<>();
        for (int i = 0; i < answers.size(); i++) {
            predictions.add(of(
                    (SequenceClassificationConfig) adapterOf.get(i).task(),
                    answers.get(i).columns(),
                    answers.get(i).cut()));
        }
        return predictions;
    }

    @SuppressWarnings("unchecked") // what the task writes
    private static Prediction of(
            SequenceClassificationConfig task, Map<String, @Nullable Object> columns, boolean cut) {
        Object label = columns.get("label");
        List<String> labels = task.problem() == ProblemType.REGRESSION
                ? List.of()
                : label instanceof List<?> several ? (List<String>) several : List.of(String.valueOf(label));
        Object probabilities = columns.get("probabilities");
        return new Prediction(
                labels,
                (List<Float>) Objects.requireNonNull(columns.get("logits")),
                probabilities == null ? List.of() : (List<Float>) probabilities,
                cut);
    }

    /** What is said of one text. */
    public Prediction predict(String text) {
        Objects.requireNonNull(text, "text");
        return predict(List.of(text)).get(0);
    }

    /** What is said of one pair of texts, of a classifier that was trained on pairs ({@code text_pair}). */
    public Prediction predict(String text, String pair) {
        if (task.textPair() == null) {
            throw new IllegalStateException("this classifier was trained on single texts; give it one text");
        }
        Map<String, @Nullable Object> row = new HashMap<>(Map.of(task.text(), text, task.textPair(), pair));
        return answers(List.of(adapter), List.of(row)).get(0);
    }

    /**
     * Classifies the rows of a file, JSONL or CSV, batch by batch; labels are not needed. The receiver gets each
     * row's columns and what is said of it, in order.
     */
    public void predict(Path data, BiConsumer<Map<String, @Nullable Object>, Prediction> receiver) throws IOException {
        adapter.answer(data, batchSize, (row, columns, cut) -> receiver.accept(row, of(task, columns, cut)));
    }

    /** As {@link #predict(Path, BiConsumer)}, of rows from memory; the stream is read once and closed. */
    public void predict(
            Stream<? extends Map<String, ? extends @Nullable Object>> rows,
            BiConsumer<Map<String, @Nullable Object>, Prediction> receiver)
            throws IOException {
        adapter.answer(rows, batchSize, (row, columns, cut) -> receiver.accept(row, of(task, columns, cut)));
    }

    /** How well it does on labelled rows; JSONL or CSV with the columns it was trained on. */
    public Evaluation evaluate(Path data) throws IOException {
        return adapter.evaluate(data, batchSize);
    }

    /** As {@link #evaluate(Path)}, of rows from memory; the stream is read once and closed. */
    public Evaluation evaluate(Stream<? extends Map<String, ? extends @Nullable Object>> rows) throws IOException {
        return adapter.evaluate(rows, batchSize);
    }

    /** Frees what it opened, once no call uses it. Closing twice does nothing. */
    @Override
    public void close() {
        if (owned != null) {
            owned.close();
        }
    }
}
