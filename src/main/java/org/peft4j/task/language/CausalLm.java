package org.peft4j.task.language;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.TaskId;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.data.chat.ChatFormat;
import org.peft4j.data.template.ChatTemplate;
import org.peft4j.error.TrainingException;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.ToldRow;
import org.peft4j.ops.Device;
import org.peft4j.task.Batch;
import org.peft4j.task.Dataset;
import org.peft4j.task.Evaluator;
import org.peft4j.task.Task;
import org.peft4j.task.TaskOfRow;

/**
 * Language modelling: each row of a text tells the next token. A row of data is a text, all of whose tokens count; a prompt and
 * a response, tokenised by themselves, of which the response counts; or a conversation, of which the assistant's turns do. The
 * loss is the cross-entropy of the tokens that count.
 *
 * <p>A text's first token counts only where an adapter inserts rows before it (prompt tuning, P-tuning), of which the last one tells
 * it; in training and evaluation, as in Hugging Face PEFT. Keys and values of a prefix are no rows. A score never counts it, so that
 * scores with any adapter are of the same tokens; nor does a row of data count that has no other.
 */
final class CausalLm implements Task<LanguageExample> {
    private final CausalLmConfig config;
    private final RowEncoder encoder;
    private final Prompts prompts;
    private final @Nullable ChatTemplate template;

    /**
     * @param format how conversations become texts
     * @param template what stands beside the adapter; null if nothing does
     */
    CausalLm(CausalLmConfig config, ChatFormat format, @Nullable ChatTemplate template) {
        this.config = config;
        this.encoder = new RowEncoder(config, format);
        this.prompts = new Prompts(config, format);
        this.template = template;
    }

    @Override
    public CausalLmConfig config() {
        return config;
    }

    Prompts prompts() {
        return prompts;
    }

    @Override
    public CausalLm withTaskId(TaskId id) {
        return new CausalLm(config.withTaskId(id), prompts.format(), template);
    }

    @Override
    public String peftName() {
        return CausalLmType.PEFT_NAME;
    }

    @Override
    public HeadKind headKind() {
        return HeadKind.LANGUAGE;
    }

    @Override
    public HeadOptions headOptions() {
        return HeadOptions.of(0);
    }

    /** None for sure but that of tasks: they are those of its form. */
    @Override
    public List<String> columns() {
        return TaskOfRow.with(List.of(), config);
    }

    @Override
    public List<String> answeredColumns() {
        return columns();
    }

    @Override
    public List<LanguageExample> examples(List<Row> rows, TextTokenizer tokenizer) {
        List<LanguageExample> examples = examples(rows, encoder.encode(rows, tokenizer, false));
        for (int i = 0; i < examples.size(); i++) {
            if (examples.get(i).tokens() == 0) {
                throw rows.get(i).wrong("expected at least one token, but the tokenizer makes none of this row");
            }
        }
        return examples;
    }

    private List<LanguageExample> examples(List<Row> rows, List<EncodedRow> encoded) {
        List<LanguageExample> examples = new ArrayList<>();
        for (int i = 0; i < rows.size(); i++) {
            examples.add(encoded.get(i).example(rows.get(i), encoder.task(rows.get(i))));
        }
        return examples;
    }

    /** Rows to evaluate on: each by itself, also those that only count as cut. Of a row without a token there is nothing to say. */
    @Override
    public Dataset<LanguageExample> read(RowReader reader, TextTokenizer tokenizer) throws IOException {
        AnsweredRows rows = AnsweredRows.read(reader, encoder, tokenizer);
        List<LanguageExample> examples = new ArrayList<>(rows.examples());
        examples.removeIf(example -> example.tokens() == 0);
        if (examples.stream().allMatch(example -> example.counted(0) == 0)) {
            throw rows.nothingCounts();
        }
        return new Dataset<>(reader.file(), examples, Map.of(), rows.texts(Double.NaN));
    }

    @Override
    public void writeBesideAdapter(Path directory) throws IOException {
        if (template != null) {
            ChatFormat.write(template, directory);
        }
    }

    @Override
    public void writeBeside(Path directory, ModelInfo model) throws IOException {
        writeBesideAdapter(directory);
    }

    @Override
    public ReadRows reads(Head head, Batch<LanguageExample> batch) {
        List<Integer> firsts = new ArrayList<>();
        for (LanguageExample example : batch.examples()) {
            for (int s = 0; s < example.sequences().size(); s++) {
                firsts.add(example.first(s));
            }
        }
        return ReadRows.telling(firsts);
    }

    /**
     * What stands before the first token that counts: a prompt, or what comes before the first answer of a conversation. Of a text,
     * all of whose tokens count but the first, it is that one.
     */
    @Override
    public int[] instructions(Batch<LanguageExample> batch) {
        int[] rows = new int[batch.packing().sequences()];
        int sequence = 0;
        for (LanguageExample example : batch.examples()) {
            for (int s = 0; s < example.sequences().size(); s++) {
                rows[sequence] = Math.min(batch.packing().length(sequence), Math.max(1, example.first(s)));
                sequence++;
            }
        }
        return rows;
    }

    /** The tokens that count, the first one of a text among them, as Hugging Face's labels have it. */
    @Override
    public boolean[] learnt(Batch<LanguageExample> batch) {
        boolean[] learnt = new boolean[Math.toIntExact(batch.packing().rows())];
        int row = 0;
        for (LanguageExample example : batch.examples()) {
            for (boolean[] counts : example.counts()) {
                System.arraycopy(counts, 0, learnt, row, counts.length);
                row += counts.length;
            }
        }
        return learnt;
    }

    @Override
    public double weight(LanguageExample example, int inserted) {
        return example.counted(inserted);
    }

    @Override
    public int telling(LanguageExample example) {
        return example.sequences().size();
    }

    /**
     * The losses of the tokens that count, one behind the other.
     *
     * @param packing how many each sequence has
     */
    private record Losses(@Nullable Tensor values, Packing packing) {}

    /**
     * The head computes only the rows that tell a token that counts; the token that a row tells is the next one.
     *
     * @param withInserted whether inserted rows count that an adapter wants to be told, with their weights
     */
    private static Losses losses(
            Head head,
            Tensor h,
            Batch<LanguageExample> batch,
            Packing read,
            ForwardContext context,
            boolean withInserted) {
        int most = Math.toIntExact(read.rows());
        long[] rows = new long[most];
        long[] labels = new long[most];
        float[] weights = new float[most];
        Arrays.fill(weights, 1);
        int[] counted = new int[read.sequences()];
        int n = 0;
        int sequence = 0;
        for (LanguageExample example : batch.examples()) {
            for (int s = 0; s < example.sequences().size(); s++) {
                int inserted = context.inserted(sequence);
                int[] ids = example.sequences().get(s).tokens();
                for (ToldRow told : withInserted ? context.told(sequence) : List.<ToldRow>of()) {
                    rows[n] = read.end(sequence) - ids.length - inserted + told.row() - 1;
                    labels[n] = told.token();
                    weights[n++] = (float) told.weight();
                    counted[sequence]++;
                }
                for (int token = 0; token < ids.length; token++) {
                    if (example.counts(s, token, inserted)) {
                        // the last row read is the sequence's last one, which tells what stands behind it
                        rows[n] = read.end(sequence) - ids.length + token - 1;
                        labels[n++] = ids[token];
                        counted[sequence]++;
                    }
                }
                sequence++;
            }
        }
        Packing packing = Packing.of(counted);
        if (n == 0) {
            return new Losses(null, packing);
        }
        int count = n;
        Tensor telling = n == most ? h : h.index_select(0, Tensors.ofLongs(Device.of(h), rows, n));
        Tensor values = ((LanguageHead) head).losses(telling, Tensors.ofLongs(labels, n), packing, context);
        boolean weighted = IntStream.range(0, count).anyMatch(i -> weights[i] != 1);
        return new Losses(
                weighted ? values.mul(Tensors.ofFloats(Device.of(values), Arrays.copyOf(weights, n), n)) : values,
                packing);
    }

    @Override
    public Tensor loss(Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
        Packing read = reads(head, batch).packing(context);
        return Scopes.scoped(() -> Objects.requireNonNull(
                        losses(head, h, batch, read, context, true).values(), "rows of which no token counts")
                .sum());
    }

    /** The summed loss of each example. */
    private double[] sums(Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
        Losses all = losses(head, h, batch, reads(head, batch).packing(context), context, false);
        float[] losses = all.values() == null ? new float[0] : Tensors.toFloats(all.values());
        double[] sums = new double[batch.examples().size()];
        int sequence = 0;
        for (int e = 0; e < sums.length; e++) {
            int last = sequence + batch.examples().get(e).sequences().size();
            for (long row = all.packing().begin(sequence); row < all.packing().end(last - 1); row++) {
                sums[e] += losses[(int) row];
            }
            sequence = last;
            if (!Double.isFinite(sums[e])) {
                throw new TrainingException(batch.where().apply(e) + ": the loss is not finite, got " + sums[e]
                        + "; the model's or the adapter's weights are not finite or too large, try dtype float32");
            }
        }
        return sums;
    }

    @Override
    public Evaluator<LanguageExample> evaluator() {
        return new Evaluator<>() {
            private double loss;
            private long tokens;
            private long rows;
            private long cut;

            @Override
            public void add(Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
                for (double sum : sums(head, h, batch, context)) {
                    loss += sum;
                }
                int sequence = 0;
                for (LanguageExample example : batch.examples()) {
                    tokens += example.counted(context.inserted(sequence)); // one adapter reads all of an example
                    sequence += example.sequences().size();
                    rows += example.sequences().size(); // of which a packed example has several
                    cut += example.sequences().stream().filter(Tokens::cut).count();
                }
            }

            @Override
            public Evaluation evaluation() {
                if (tokens == 0) {
                    throw new IllegalStateException("nothing to evaluate: no token counts");
                }
                Map<String, Double> metrics = new LinkedHashMap<>();
                metrics.put(MetricNames.PERPLEXITY, Math.exp(loss / tokens));
                Map<String, Long> counts = new LinkedHashMap<>();
                counts.put("tokens", tokens);
                counts.put(Evaluation.CUT, cut);
                return new Evaluation(rows, loss / tokens, metrics, counts, List.of(), List.of());
            }
        };
    }

    @Override
    public List<Map<String, @Nullable Object>> outputs(
            Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
        double[] sums = sums(head, h, batch, context);
        List<Map<String, @Nullable Object>> columns = new ArrayList<>();
        for (int e = 0; e < sums.length; e++) {
            Map<String, @Nullable Object> map = new LinkedHashMap<>();
            map.put("log_prob", sums[e] == 0 ? 0.0 : -sums[e]);
            map.put("tokens", batch.examples().get(e).counted(0));
            columns.add(map);
        }
        return columns;
    }
}
