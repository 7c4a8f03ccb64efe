package org.peft4j.task.classification;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.ProblemType;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskId;
import org.peft4j.data.Labels;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.metrics.ClassMetrics;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MultiLabelMetrics;
import org.peft4j.metrics.RegressionMetrics;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.ops.Device;
import org.peft4j.task.Batch;
import org.peft4j.task.Dataset;
import org.peft4j.task.Evaluator;
import org.peft4j.task.Task;
import org.peft4j.task.TaskOfRow;
import org.peft4j.task.Values;

/**
 * One label for each text or pair of texts, any number of labels, or a number: transformers' three problem types and their
 * losses.
 *
 * <pre>
 * single label   cross-entropy of softmax(z)
 * multi label    binary cross-entropy of σ(z), a mean over the labels
 * regression     (z - y)²
 * </pre>
 */
final class SequenceClassification implements Task<ClassExample> {
    private static final long SUM = 2; // at::Reduction::Sum
    private static final long IGNORED = -100; // no row has this label

    private final SequenceClassificationConfig config;
    private final ProblemType problem;
    private final Labels labels;
    private final int outputs;
    private final boolean headAnew;

    /**
     * @param config with its problem and its labels decided
     * @param labels names of the outputs
     * @param headAnew whether the model's head does not count
     */
    SequenceClassification(SequenceClassificationConfig config, Labels labels, int outputs, boolean headAnew) {
        this.config = config;
        this.problem = Objects.requireNonNull(config.problem(), "problem");
        this.labels = labels;
        this.outputs = outputs;
        this.headAnew = headAnew;
    }

    @Override
    public SequenceClassificationConfig config() {
        return config;
    }

    @Override
    public SequenceClassification withTaskId(TaskId id) {
        return new SequenceClassification(config.toBuilder().taskId(id).build(), labels, outputs, headAnew);
    }

    @Override
    public String peftName() {
        return SequenceClassificationType.PEFT_NAME;
    }

    @Override
    public HeadKind headKind() {
        return HeadKind.SEQUENCE;
    }

    @Override
    public HeadOptions headOptions() {
        return new HeadOptions(outputs, headAnew);
    }

    @Override
    public List<String> labels() {
        return problem == ProblemType.REGRESSION ? List.of() : labels.names();
    }

    @Override
    public List<String> columns() {
        return columns(config);
    }

    static List<String> columns(SequenceClassificationConfig config) {
        return TaskOfRow.with(
                config.textPair() == null ? List.of(config.text()) : List.of(config.text(), config.textPair()), config);
    }

    @Override
    public List<String> answeredColumns() {
        return answeredColumns(config);
    }

    static List<String> answeredColumns(SequenceClassificationConfig config) {
        List<String> columns = new ArrayList<>(columns(config));
        columns.add(config.label());
        return columns;
    }

    @Override
    public List<ClassExample> examples(List<Row> rows, TextTokenizer tokenizer) {
        List<Tokens> tokens = tokens(config, rows, tokenizer);
        return IntStream.range(0, rows.size())
                .mapToObj(i -> new ClassExample(
                        tokens.get(i),
                        -1,
                        ClassExample.NONE,
                        TaskOfRow.of(rows.get(i), config),
                        rows.get(i).line()))
                .toList();
    }

    static List<Tokens> tokens(SequenceClassificationConfig config, List<Row> rows, TextTokenizer tokenizer) {
        String pair = config.textPair();
        List<String> texts = rows.stream().map(row -> row.text(config.text())).toList();
        if (pair == null) {
            return tokenizer.encode(texts, i -> rows.get(i).where());
        }
        return tokenizer.encodePairs(
                texts,
                rows.stream().map(row -> row.text(pair)).toList(),
                i -> rows.get(i).where());
    }

    @Override
    public Dataset<ClassExample> read(RowReader reader, TextTokenizer tokenizer) throws IOException {
        return AnsweredTexts.read(reader, config, problem, tokenizer).dataset(problem, labels);
    }

    @Override
    public double weight(ClassExample example, int inserted) {
        return problem == ProblemType.MULTI_LABEL ? outputs : 1;
    }

    @Override
    public Tensor loss(Head head, Tensor h, Batch<ClassExample> batch, ForwardContext context) {
        return Scopes.scoped(() -> {
            Tensor logits = head.forward(h, head.reads().packing(context), context);
            return switch (problem) {
                case SINGLE_LABEL ->
                    torch.cross_entropy_loss(
                            logits, classes(batch, Device.of(logits)), new TensorOptional(), SUM, IGNORED, 0);
                case REGRESSION ->
                    logits.sub(values(batch, Device.of(logits))).square().sum();
                case MULTI_LABEL -> multiLabelLoss(logits, values(batch, Device.of(logits)));
            };
        });
    }

    /** {@code Σ max(z, 0) - z y + log(1 + e^-|z|)}, in which nothing overflows. */
    private static Tensor multiLabelLoss(Tensor z, Tensor y) {
        Tensor tail = z.abs().neg().exp().log1p();
        return z.clamp_min(new Scalar(0.0)).sub(z.mul(y)).add(tail).sum();
    }

    private static Tensor classes(Batch<ClassExample> batch, Device device) {
        long[] classes =
                batch.examples().stream().mapToLong(ClassExample::label).toArray();
        return Tensors.ofLongs(device, classes, classes.length);
    }

    private Tensor values(Batch<ClassExample> batch, Device device) {
        float[] values = new float[batch.examples().size() * outputs];
        for (int i = 0; i < batch.examples().size(); i++) {
            System.arraycopy(batch.examples().get(i).values(), 0, values, i * outputs, outputs);
        }
        return Tensors.ofFloats(device, values, batch.examples().size(), outputs);
    }

    @Override
    public Evaluator<ClassExample> evaluator() {
        return switch (problem) {
            case SINGLE_LABEL ->
                new Collected() {
                    private final ClassMetrics metrics = new ClassMetrics(labels.names());

                    @Override
                    void add(float[] logits, ClassExample example) {
                        metrics.add(logits, example.label());
                    }

                    @Override
                    public Evaluation evaluation() {
                        return metrics.evaluation(cut);
                    }
                };
            case MULTI_LABEL ->
                new Collected() {
                    private final MultiLabelMetrics metrics = new MultiLabelMetrics(labels.names());

                    @Override
                    void add(float[] logits, ClassExample example) {
                        metrics.add(logits, example.values());
                    }

                    @Override
                    public Evaluation evaluation() {
                        return metrics.evaluation(cut);
                    }
                };
            case REGRESSION ->
                new Collected() {
                    private final RegressionMetrics metrics = new RegressionMetrics();

                    @Override
                    void add(float[] logits, ClassExample example) {
                        metrics.add(logits[0], example.values()[0]);
                    }

                    @Override
                    public Evaluation evaluation() {
                        return metrics.evaluation(cut);
                    }
                };
        };
    }

    /** What all three problems' evaluators share. */
    private abstract static class Collected implements Evaluator<ClassExample> {
        long cut;

        abstract void add(float[] logits, ClassExample example);

        @Override
        public void add(Head head, Tensor h, Batch<ClassExample> batch, ForwardContext context) {
            float[][] logits = logits(head, h, batch, context);
            for (int i = 0; i < logits.length; i++) {
                ClassExample example = batch.examples().get(i);
                add(logits[i], example);
                cut += example.cut() ? 1 : 0;
            }
        }
    }

    private static float[][] logits(Head head, Tensor h, Batch<ClassExample> batch, ForwardContext context) {
        Tensor logits = head.forward(h, head.reads().packing(context), context);
        return Values.rows(logits, "logits", batch.where());
    }

    @Override
    public List<Map<String, @Nullable Object>> outputs(
            Head head, Tensor h, Batch<ClassExample> batch, ForwardContext context) {
        List<Map<String, @Nullable Object>> columns = new ArrayList<>();
        for (float[] logits : logits(head, h, batch, context)) {
            columns.add(columns(logits));
        }
        return columns;
    }

    private Map<String, @Nullable Object> columns(float[] logits) {
        Map<String, @Nullable Object> columns = new LinkedHashMap<>();
        switch (problem) {
            case SINGLE_LABEL -> columns.put("label", labels.names().get(ClassMetrics.largest(logits)));
            case MULTI_LABEL ->
                columns.put(
                        "label",
                        IntStream.range(0, logits.length)
                                .filter(c -> logits[c] > 0)
                                .mapToObj(labels.names()::get)
                                .toList());
            case REGRESSION -> columns.put("label", logits[0]);
        }
        columns.put("logits", list(logits));
        if (problem != ProblemType.REGRESSION) {
            columns.put("probabilities", list(problem == ProblemType.SINGLE_LABEL ? softmax(logits) : sigmoid(logits)));
        }
        return columns;
    }

    private static List<Float> list(float[] values) {
        List<Float> list = new ArrayList<>();
        for (float value : values) {
            list.add(value);
        }
        return list;
    }

    private static float[] softmax(float[] logits) {
        double max = logits[ClassMetrics.largest(logits)];
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - max);
        }
        float[] probabilities = new float[logits.length];
        for (int c = 0; c < logits.length; c++) {
            probabilities[c] = (float) (Math.exp(logits[c] - max) / sum);
        }
        return probabilities;
    }

    private static float[] sigmoid(float[] logits) {
        float[] probabilities = new float[logits.length];
        for (int c = 0; c < logits.length; c++) {
            probabilities[c] = (float) (1 / (1 + Math.exp(-logits[c])));
        }
        return probabilities;
    }
}
