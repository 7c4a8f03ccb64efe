package org.peft4j.task.embedding;

import java.io.IOException;
import java.nio.file.Path;
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
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.Pooling;
import org.peft4j.config.TaskId;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.metrics.Evaluation;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.SentenceVectors;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Device;
import org.peft4j.task.Batch;
import org.peft4j.task.Dataset;
import org.peft4j.task.Evaluator;
import org.peft4j.task.RowBlocks;
import org.peft4j.task.Task;
import org.peft4j.task.TaskOfRow;
import org.peft4j.task.Values;

/**
 * A vector for each text: the mean of its rows, its first or its last one, normalised or not, as sentence-transformers' Pooling
 * and Normalize. Trained by pairs:
 *
 * <pre>
 * in-batch negatives   cross-entropy of softmax over j of scale · cos(aᵢ, bⱼ), where j = i is right
 * cosine               (cos(aᵢ, bᵢ) - scoreᵢ)²
 * </pre>
 *
 * @see <a href="https://arxiv.org/abs/1705.00652">Efficient Natural Language Response Suggestion: in-batch negatives</a>
 */
final class Embedding implements Task<EmbeddedExample> {
    private static final long SUM = 2; // at::Reduction::Sum
    private static final long IGNORED = -100;

    private final EmbeddingConfig config;
    private final boolean normalize;
    private final Pooling pooling;

    /** @param config with pooling and normalize decided */
    Embedding(EmbeddingConfig config) {
        this.config = config;
        normalize = Objects.requireNonNull(config.normalize(), "normalize");
        pooling = Objects.requireNonNull(config.pooling(), "pooling");
    }

    @Override
    public EmbeddingConfig config() {
        return config;
    }

    @Override
    public Embedding withTaskId(TaskId id) {
        return new Embedding(config.toBuilder().taskId(id).build());
    }

    @Override
    public String peftName() {
        return EmbeddingType.PEFT_NAME;
    }

    @Override
    public HeadKind headKind() {
        return HeadKind.NONE;
    }

    @Override
    public HeadOptions headOptions() {
        return HeadOptions.of(0);
    }

    @Override
    public void writeBeside(Path directory, ModelInfo model) throws IOException {
        new SentenceModules(pooling, normalize).write(directory, model.output().hiddenSize(), config.maxLength());
    }

    @Override
    public List<String> columns() {
        return TaskOfRow.with(List.of(config.text()), config);
    }

    @Override
    public List<String> answeredColumns() {
        List<String> columns = new ArrayList<>(List.of(config.text(), config.positive()));
        if (config.score() != null) {
            columns.add(config.score());
        }
        return TaskOfRow.with(columns, config);
    }

    @Override
    public List<EmbeddedExample> examples(List<Row> rows, TextTokenizer tokenizer) {
        List<Tokens> tokens = tokens(rows, config.text(), tokenizer);
        return IntStream.range(0, rows.size())
                .mapToObj(i -> new EmbeddedExample(
                        tokens.get(i),
                        null,
                        Float.NaN,
                        TaskOfRow.of(rows.get(i), config),
                        rows.get(i).line()))
                .toList();
    }

    static List<Tokens> tokens(List<Row> rows, String column, TextTokenizer tokenizer) {
        return tokenizer.encode(
                rows.stream().map(row -> row.text(column)).toList(),
                i -> rows.get(i).where());
    }

    @Override
    public Dataset<EmbeddedExample> read(RowReader reader, TextTokenizer tokenizer) throws IOException {
        List<EmbeddedExample> examples = new ArrayList<>();
        RowBlocks.read(
                reader,
                row -> row.text(config.text()).length()
                        + row.text(config.positive()).length(),
                rows -> {
                    List<Tokens> texts = tokens(rows, config.text(), tokenizer);
                    List<Tokens> positives = tokens(rows, config.positive(), tokenizer);
                    for (int i = 0; i < rows.size(); i++) {
                        examples.add(new EmbeddedExample(
                                texts.get(i),
                                positives.get(i),
                                score(rows.get(i)),
                                TaskOfRow.of(rows.get(i), config),
                                rows.get(i).line()));
                    }
                });
        return new Dataset<>(reader.file(), examples, Map.of());
    }

    private float score(Row row) {
        if (config.score() == null) {
            return Float.NaN;
        }
        double score = row.number(config.score());
        if (score < -1 || score > 1) {
            throw row.wrong("expected a cosine from -1 to 1 in column '" + config.score() + "', received " + score
                    + "; divide the scores by their largest value");
        }
        return (float) score;
    }

    @Override
    public ReadRows reads(Head head, Batch<EmbeddedExample> batch) {
        return switch (pooling) {
            case MEAN -> head.reads();
            case FIRST -> ReadRows.FIRST;
            case LAST -> ReadRows.last(1);
        };
    }

    @Override
    public double weight(EmbeddedExample example, int inserted) {
        return 1;
    }

    @Override
    public boolean sumsOverRows() {
        return config.loss() == EmbeddingConfig.Loss.COSINE;
    }

    /** A vector for each sequence, [sequences, C], float32. */
    private Tensor vectors(Head head, Tensor h, Batch<EmbeddedExample> batch, ForwardContext context) {
        return Scopes.scoped(() -> {
            ReadRows reads = reads(head, batch);
            Tensor rows = head.forward(h, reads.packing(context), context);
            Tensor pooled = pooling == Pooling.MEAN ? SentenceVectors.mean(rows, reads.packing(context)) : rows;
            return normalize ? SentenceVectors.normalized(pooled) : pooled;
        });
    }

    @Override
    public Tensor loss(Head head, Tensor h, Batch<EmbeddedExample> batch, ForwardContext context) {
        return Scopes.scoped(() -> {
            int pairs = batch.examples().size();
            Tensor unit = SentenceVectors.normalized(vectors(head, h, batch, context));
            Tensor both = unit.view(pairs, 2, unit.size(1));
            Tensor texts = both.select(1, 0);
            Tensor positives = both.select(1, 1);
            if (config.loss() == EmbeddingConfig.Loss.COSINE) {
                float[] scores = new float[pairs];
                for (int i = 0; i < pairs; i++) {
                    scores[i] = batch.examples().get(i).score();
                }
                Tensor cosines =
                        texts.mul(positives).sum(new long[] {1}, false, new org.bytedeco.pytorch.ScalarTypeOptional());
                return cosines.sub(Tensors.ofFloats(Device.of(cosines), scores, pairs))
                        .square()
                        .sum();
            }
            Tensor scores = texts.matmul(positives.t()).mul(new Scalar(config.scale()));
            long[] right = IntStream.range(0, pairs).asLongStream().toArray();
            return torch.cross_entropy_loss(
                    scores, Tensors.ofLongs(Device.of(scores), right, pairs), new TensorOptional(), SUM, IGNORED, 0);
        });
    }

    private float[][] values(Head head, Tensor h, Batch<EmbeddedExample> batch, ForwardContext context) {
        List<Integer> exampleOf = batch.bySequence(i -> i);
        return Values.rows(
                vectors(head, h, batch, context),
                "embedding's numbers",
                s -> batch.where().apply(exampleOf.get(s)));
    }

    @Override
    public Evaluator<EmbeddedExample> evaluator() {
        return new Evaluator<>() {
            private final PairMetrics metrics = new PairMetrics(config.loss(), config.scale());
            private long cut;

            @Override
            public void add(Head head, Tensor h, Batch<EmbeddedExample> batch, ForwardContext context) {
                float[][] vectors = values(head, h, batch, context);
                for (int i = 0; i < batch.examples().size(); i++) {
                    EmbeddedExample example = batch.examples().get(i);
                    metrics.add(vectors[2 * i], vectors[2 * i + 1], example.score());
                    cut += example.cut() ? 1 : 0;
                }
            }

            @Override
            public Evaluation evaluation() {
                return metrics.evaluation(cut);
            }
        };
    }

    @Override
    public List<Map<String, @Nullable Object>> outputs(
            Head head, Tensor h, Batch<EmbeddedExample> batch, ForwardContext context) {
        List<Map<String, @Nullable Object>> columns = new ArrayList<>();
        for (float[] vector : values(head, h, batch, context)) {
            List<Float> numbers = new ArrayList<>();
            for (float value : vector) {
                numbers.add(value);
            }
            Map<String, @Nullable Object> map = new LinkedHashMap<>();
            map.put("embedding", numbers);
            columns.add(map);
        }
        return columns;
    }
}
