package org.peft4j.task.tagging;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TaskId;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.data.Labels;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.data.TextTokenizer.WordTokens;
import org.peft4j.metrics.ClassMetrics;
import org.peft4j.metrics.EntityScores;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Device;
import org.peft4j.task.Batch;
import org.peft4j.task.Dataset;
import org.peft4j.task.Evaluator;
import org.peft4j.task.Task;
import org.peft4j.task.TaskOfRow;
import org.peft4j.task.Values;

/**
 * One tag for each word of a text: what the row of the word's first token says. The loss is the cross-entropy of those rows;
 * further tokens of a word and special tokens do not count, as in transformers' examples.
 */
final class TokenClassification implements Task<TaggedExample> {
    private static final long SUM = 2; // at::Reduction::Sum
    private static final long IGNORED = -100;

    private final TokenClassificationConfig config;
    private final Labels labels;
    private final boolean headAnew;

    TokenClassification(TokenClassificationConfig config, Labels labels, boolean headAnew) {
        this.config = config;
        this.labels = labels;
        this.headAnew = headAnew;
    }

    @Override
    public TokenClassificationConfig config() {
        return config;
    }

    @Override
    public TokenClassification withTaskId(TaskId id) {
        return new TokenClassification(config.withTaskId(id), labels, headAnew);
    }

    @Override
    public String peftName() {
        return TokenClassificationType.PEFT_NAME;
    }

    @Override
    public HeadKind headKind() {
        return HeadKind.TOKENS;
    }

    @Override
    public HeadOptions headOptions() {
        return new HeadOptions(labels.size(), headAnew);
    }

    @Override
    public List<String> labels() {
        return labels.names();
    }

    /** Without that of tasks: a CoNLL file, whose columns have no names, has these alone, and other rows are asked for it. */
    @Override
    public List<String> columns() {
        return List.of(config.words());
    }

    @Override
    public List<String> answeredColumns() {
        return List.of(config.words(), config.tags());
    }

    @Override
    public List<TaggedExample> examples(List<Row> rows, TextTokenizer tokenizer) {
        List<WordTokens> tokens = tokens(config, rows, tokenizer);
        return IntStream.range(0, rows.size())
                .mapToObj(i -> example(
                        tokens.get(i),
                        rows.get(i).texts(config.words()).size(),
                        TaggedExample.NONE,
                        TaskOfRow.of(rows.get(i), config),
                        rows.get(i).line()))
                .toList();
    }

    static List<WordTokens> tokens(TokenClassificationConfig config, List<Row> rows, TextTokenizer tokenizer) {
        return tokenizer.encodeWords(
                rows.stream().map(row -> row.texts(config.words())).toList(),
                i -> rows.get(i).where());
    }

    static TaggedExample example(WordTokens tokens, int words, int[] labels, int task, long line) {
        int[] firstOf = new int[words];
        Arrays.fill(firstOf, -1);
        for (int t = tokens.wordOf().length - 1; t >= 0; t--) {
            if (tokens.wordOf()[t] >= 0) {
                firstOf[tokens.wordOf()[t]] = t;
            }
        }
        return new TaggedExample(new Tokens(tokens.tokens(), null, tokens.cutWords() > 0), firstOf, labels, task, line);
    }

    @Override
    public Dataset<TaggedExample> read(RowReader reader, TextTokenizer tokenizer) throws IOException {
        return AnsweredWords.read(reader, config, tokenizer).dataset(labels);
    }

    /** The first token of each word. */
    @Override
    public boolean[] learnt(Batch<TaggedExample> batch) {
        boolean[] learnt = new boolean[Math.toIntExact(batch.packing().rows())];
        for (int s = 0; s < batch.examples().size(); s++) {
            for (int first : batch.examples().get(s).firstOf()) {
                if (first >= 0) {
                    learnt[(int) batch.packing().begin(s) + first] = true;
                }
            }
        }
        return learnt;
    }

    @Override
    public double weight(TaggedExample example, int inserted) {
        return example.tagged();
    }

    @Override
    public Tensor loss(Head head, Tensor h, Batch<TaggedExample> batch, ForwardContext context) {
        return Scopes.scoped(() -> {
            Packing rows = head.reads().packing(context);
            Tensor logits = head.forward(h, rows, context);
            long[] targets = new long[Math.toIntExact(rows.rows())];
            Arrays.fill(targets, IGNORED);
            for (int s = 0; s < batch.examples().size(); s++) {
                TaggedExample example = batch.examples().get(s);
                for (int w = 0; w < example.firstOf().length; w++) {
                    if (example.firstOf()[w] >= 0) {
                        targets[(int) rows.begin(s) + example.firstOf()[w]] = example.labels()[w];
                    }
                }
            }
            return torch.cross_entropy_loss(
                    logits,
                    Tensors.ofLongs(Device.of(logits), targets, targets.length),
                    new TensorOptional(),
                    SUM,
                    IGNORED,
                    0);
        });
    }

    /** For each example its words' logits; null for a word without a token. */
    private static List<float @Nullable [][]> logits(
            Head head, Tensor h, Batch<TaggedExample> batch, ForwardContext context) {
        Packing rows = head.reads().packing(context);
        float[][] all = Values.rows(
                head.forward(h, rows, context), "logits", row -> batch.where().apply(sequenceOf(rows, row)));
        List<float @Nullable [][]> logits = new ArrayList<>();
        for (int s = 0; s < batch.examples().size(); s++) {
            int[] firstOf = batch.examples().get(s).firstOf();
            float @Nullable [][] own = new float @Nullable [firstOf.length][];
            for (int w = 0; w < firstOf.length; w++) {
                own[w] = firstOf[w] < 0 ? null : all[(int) rows.begin(s) + firstOf[w]];
            }
            logits.add(own);
        }
        return logits;
    }

    private static int sequenceOf(Packing rows, int row) {
        int s = 0;
        while (rows.end(s) <= row) {
            s++;
        }
        return s;
    }

    @Override
    public Evaluator<TaggedExample> evaluator() {
        return new Evaluator<>() {
            private final ClassMetrics metrics = new ClassMetrics(labels.names());
            private final @Nullable EntityScores entities =
                    EntityScores.isBio(labels.names()) ? new EntityScores() : null;
            private long rows;
            private long cut;
            private long wordsWithoutTokens;

            @Override
            public void add(Head head, Tensor h, Batch<TaggedExample> batch, ForwardContext context) {
                List<float @Nullable [][]> logits = logits(head, h, batch, context);
                for (int s = 0; s < logits.size(); s++) {
                    add(batch.examples().get(s), logits.get(s));
                }
            }

            private void add(TaggedExample example, float @Nullable [][] logits) {
                List<String> right = new ArrayList<>();
                List<String> said = new ArrayList<>();
                for (int w = 0; w < logits.length; w++) {
                    float[] own = logits[w];
                    if (own != null) {
                        right.add(labels.names().get(example.labels()[w]));
                        said.add(labels.names().get(metrics.add(own, example.labels()[w])));
                    }
                }
                if (entities != null) {
                    entities.add(right, said);
                }
                rows++;
                cut += example.cut() ? 1 : 0;
                wordsWithoutTokens += logits.length - right.size();
            }

            @Override
            public Evaluation evaluation() {
                Map<String, Long> counts = new LinkedHashMap<>();
                counts.put(Evaluation.CUT, cut);
                counts.put("words_without_tokens", wordsWithoutTokens); // cut, or nothing that the tokenizer knows
                if (entities == null) {
                    return metrics.evaluation(rows, Map.of(), counts);
                }
                counts.put("malformed_bio_rows", entities.malformedGold());
                counts.put("malformed_bio_predictions", entities.malformedPredicted());
                return metrics.evaluation(rows, entityMetrics(entities), counts);
            }
        };
    }

    private static Map<String, Double> entityMetrics(EntityScores entities) {
        Map<String, Double> metrics = new LinkedHashMap<>();
        metrics.put(MetricNames.ENTITY_F1, entities.overall().f1());
        metrics.put(MetricNames.ENTITY_PRECISION, entities.overall().precision());
        metrics.put(MetricNames.ENTITY_RECALL, entities.overall().recall());
        entities.byType().forEach((type, score) -> {
            if (!type.isEmpty()) { // else tags are B and I alone
                metrics.put(MetricNames.ENTITY_F1 + "." + type, score.f1());
            }
        });
        return metrics;
    }

    @Override
    public List<Map<String, @Nullable Object>> outputs(
            Head head, Tensor h, Batch<TaggedExample> batch, ForwardContext context) {
        List<Map<String, @Nullable Object>> columns = new ArrayList<>();
        for (float @Nullable [][] words : logits(head, h, batch, context)) {
            List<@Nullable String> tags = new ArrayList<>();
            for (float[] own : words) {
                tags.add(own == null ? null : labels.names().get(ClassMetrics.largest(own)));
            }
            Map<String, @Nullable Object> map = new LinkedHashMap<>();
            map.put("tags", tags);
            columns.add(map);
        }
        return columns;
    }
}
