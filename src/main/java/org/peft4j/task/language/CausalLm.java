package org.peft4j.task.language;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.error.MalformedFileException;
import org.peft4j.error.TrainingException;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.LanguageHead;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.task.Batch;
import org.peft4j.task.Dataset;
import org.peft4j.task.Evaluator;
import org.peft4j.task.RowBlocks;
import org.peft4j.task.Task;

/**
 * Language modelling: each row of a text tells the next token. A row of data is a text, all of whose tokens count; or a prompt and
 * a response, tokenised by themselves, of which the response counts, or both. The loss is the cross-entropy of the tokens that
 * count. Behind a response to train on stands the tokenizer's end token, so that the model learns to stop; nothing is put behind
 * a text, nor behind what is scored.
 *
 * <p>A text's first token counts only where an adapter inserts rows before it (prompt tuning, P-tuning), of which the last one tells
 * it; in training and evaluation, as in Hugging Face PEFT. Keys and values of a prefix are no rows. A score never counts it, so that
 * scores with any adapter are of the same tokens; nor does a row of data count that has no other.
 */
final class CausalLm implements Task<LanguageExample> {
    private static final long IGNORED = -100;

    private final CausalLmConfig config;

    CausalLm(CausalLmConfig config) {
        this.config = config;
    }

    @Override
    public CausalLmConfig config() {
        return config;
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

    /** None for sure: a row has a text, or a prompt and a response. */
    @Override
    public List<String> columns() {
        return List.of();
    }

    @Override
    public List<String> answeredColumns() {
        return List.of();
    }

    @Override
    public List<LanguageExample> examples(List<Row> rows, TextTokenizer tokenizer) {
        List<LanguageExample> examples = examples(rows, tokenizer, false);
        for (int i = 0; i < examples.size(); i++) {
            if (examples.get(i).tokens() == 0) {
                throw rows.get(i).wrong("expected at least one token, but the tokenizer makes none of this row");
            }
        }
        return examples;
    }

    /** @param trained whether the end token stands behind responses, and first tokens may count */
    private List<LanguageExample> examples(List<Row> rows, TextTokenizer tokenizer, boolean trained) {
        List<Row> texts = rows.stream().filter(row -> row.has(config.text())).toList();
        List<Row> turns = rows.stream().filter(row -> !row.has(config.text())).toList();
        List<Tokens> whole = tokenizer.encode(
                texts.stream().map(row -> row.text(config.text())).toList(), where(texts));
        List<Tokens> prompts = tokenizer.encode(turns.stream().map(this::prompt).toList(), where(turns));
        List<Tokens> responses = tokenizer.encodePlain(
                turns.stream().map(row -> row.text(config.response())).toList(), where(turns));
        List<LanguageExample> examples = new ArrayList<>();
        int text = 0;
        int turn = 0;
        for (Row row : rows) {
            if (row.has(config.text())) {
                examples.add(LanguageExample.of(whole.get(text++), trained ? 0 : 1, row.line()));
            } else {
                examples.add(joined(prompts.get(turn), responses.get(turn), tokenizer, trained, row.line()));
                turn++;
            }
        }
        return examples;
    }

    private static IntFunction<String> where(List<Row> rows) {
        return i -> rows.get(i).where();
    }

    private String prompt(Row row) {
        if (!row.has(config.prompt())) {
            throw row.wrong(
                    "expected a text in column '" + config.text() + "', or a prompt in column '" + config.prompt()
                            + "' and a response in column '" + config.response() + "', received the columns "
                            + row.fields().keySet());
        }
        return row.text(config.prompt());
    }

    private LanguageExample joined(
            Tokens prompt, Tokens response, TextTokenizer tokenizer, boolean trained, long line) {
        IntStream ids = IntStream.concat(Arrays.stream(prompt.tokens()), Arrays.stream(response.tokens()));
        if (trained && tokenizer.specialId("eos").isPresent()) {
            ids = IntStream.concat(ids, IntStream.of(tokenizer.specialId("eos").getAsInt()));
        }
        int[] all = ids.toArray();
        boolean cut = prompt.cut() || response.cut() || all.length > tokenizer.maxLength();
        int[] kept = all.length > tokenizer.maxLength() ? Arrays.copyOf(all, tokenizer.maxLength()) : all;
        int first = config.lossOn() == CausalLmConfig.LossOn.ALL ? 0 : prompt.tokens().length;
        return LanguageExample.of(new Tokens(kept, null, cut), trained ? first : Math.max(1, first), line);
    }

    /** Rows to evaluate on: each by itself, also those that only count as cut. Of a row without a token there is nothing to say. */
    @Override
    public Dataset<LanguageExample> read(RowReader reader, TextTokenizer tokenizer) throws IOException {
        List<LanguageExample> examples = answered(reader, tokenizer);
        examples.removeIf(example -> example.tokens() == 0);
        if (examples.stream().allMatch(example -> example.counted(0) == 0)) {
            throw nothingCounts(reader);
        }
        return new Dataset<>(reader.file(), examples, Map.of());
    }

    private List<LanguageExample> answered(RowReader reader, TextTokenizer tokenizer) throws IOException {
        List<LanguageExample> examples = new ArrayList<>();
        RowBlocks.read(reader, this::characters, rows -> examples.addAll(examples(rows, tokenizer, true)));
        return examples;
    }

    private static MalformedFileException nothingCounts(RowReader reader) {
        return new MalformedFileException(
                reader.file(), -1, "no row has a token that counts; give longer texts, or a larger max_length");
    }

    /**
     * Rows to train on: those that teach something, put together where that is asked for.
     *
     * @param notes collects what a user should know
     */
    Dataset<LanguageExample> trained(RowReader reader, TextTokenizer tokenizer, List<String> notes) throws IOException {
        List<LanguageExample> examples = answered(reader, tokenizer);
        int before = examples.size();
        examples.removeIf(example -> example.counted(0) == 0);
        if (examples.size() < before) {
            notes.add((before - examples.size()) + " of " + before + " rows of " + reader.file()
                    + " are left out: none of their tokens counts (too short, or their responses begin behind the first "
                    + tokenizer.maxLength() + " tokens)");
        }
        if (examples.isEmpty()) {
            throw nothingCounts(reader);
        }
        return new Dataset<>(
                reader.file(), config.packing() ? packed(examples, tokenizer.maxLength()) : examples, Map.of());
    }

    private long characters(Row row) {
        return row.has(config.text())
                ? row.text(config.text()).length()
                : (long) prompt(row).length() + row.text(config.response()).length();
    }

    /** Neighbouring texts put together as long as they fit. */
    private static List<LanguageExample> packed(List<LanguageExample> examples, int most) {
        List<LanguageExample> packs = new ArrayList<>();
        List<LanguageExample> open = new ArrayList<>();
        int tokens = 0;
        for (LanguageExample example : examples) {
            if (!open.isEmpty() && tokens + example.tokens() > most) {
                packs.add(joined(open));
                open.clear();
                tokens = 0;
            }
            open.add(example);
            tokens += example.tokens();
        }
        packs.add(joined(open));
        return packs;
    }

    private static LanguageExample joined(List<LanguageExample> examples) {
        return new LanguageExample(
                examples.stream()
                        .flatMap(example -> example.sequences().stream())
                        .toList(),
                examples.stream()
                        .flatMapToInt(example -> Arrays.stream(example.firsts()))
                        .toArray(),
                examples.get(0).line());
    }

    @Override
    public ReadRows reads(Head head, Batch<LanguageExample> batch) {
        return ReadRows.telling(batch.examples().stream()
                .flatMapToInt(example -> Arrays.stream(example.firsts()))
                .boxed()
                .toList());
    }

    @Override
    public double weight(LanguageExample example, int inserted) {
        return example.counted(inserted);
    }

    /** The loss of each read row, [R]; the token that it tells is the next one. */
    private Tensor losses(Head head, Tensor h, Batch<LanguageExample> batch, Packing rows, ForwardContext context) {
        long[] labels = new long[Math.toIntExact(rows.rows())];
        Arrays.fill(labels, IGNORED);
        int sequence = 0;
        for (LanguageExample example : batch.examples()) {
            for (int s = 0; s < example.sequences().size(); s++) {
                int[] ids = example.sequences().get(s).tokens();
                int first = example.first(s, context.inserted(sequence));
                for (int token = first; token < ids.length; token++) {
                    labels[(int) rows.begin(sequence) + token - first] = ids[token];
                }
                sequence++;
            }
        }
        return ((LanguageHead) head).losses(h, Tensors.ofLongs(labels, labels.length), rows, context);
    }

    @Override
    public Tensor loss(Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
        Packing rows = reads(head, batch).packing(context);
        return Scopes.scoped(() -> losses(head, h, batch, rows, context).sum());
    }

    /** The summed loss of each example. */
    private double[] sums(Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
        Packing rows = reads(head, batch).packing(context);
        float[] losses = Tensors.toFloats(losses(head, h, batch, rows, context));
        double[] sums = new double[batch.examples().size()];
        int sequence = 0;
        for (int e = 0; e < sums.length; e++) {
            int last = sequence + batch.examples().get(e).sequences().size();
            for (long row = rows.begin(sequence); row < rows.end(last - 1); row++) {
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
