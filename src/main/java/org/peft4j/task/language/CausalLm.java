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
import org.peft4j.error.TrainingException;
import org.peft4j.metrics.Evaluation;
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
 * Language modelling: each row of a text tells the next token. A row of data is a text, all of whose tokens count but the first;
 * or a prompt and a response, tokenised by themselves, of which the response counts, or both. The loss is the cross-entropy of
 * the tokens that count. Behind a response to train on stands the tokenizer's end token, so that the model learns to stop;
 * nothing is put behind a text, nor behind what is scored.
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
        return examples(rows, tokenizer, false);
    }

    /** @param ended whether the end token stands behind responses */
    private List<LanguageExample> examples(List<Row> rows, TextTokenizer tokenizer, boolean ended) {
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
                examples.add(LanguageExample.of(whole.get(text++), 1, row.line()));
            } else {
                examples.add(joined(prompts.get(turn), responses.get(turn), tokenizer, ended, row.line()));
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

    private LanguageExample joined(Tokens prompt, Tokens response, TextTokenizer tokenizer, boolean ended, long line) {
        IntStream ids = IntStream.concat(Arrays.stream(prompt.tokens()), Arrays.stream(response.tokens()));
        if (ended && tokenizer.specialId("eos").isPresent()) {
            ids = IntStream.concat(ids, IntStream.of(tokenizer.specialId("eos").getAsInt()));
        }
        int[] all = ids.toArray();
        boolean cut = prompt.cut() || response.cut() || all.length > tokenizer.maxLength();
        int[] kept = all.length > tokenizer.maxLength() ? Arrays.copyOf(all, tokenizer.maxLength()) : all;
        int first = config.lossOn() == CausalLmConfig.LossOn.ALL ? 1 : prompt.tokens().length;
        return LanguageExample.of(new Tokens(kept, null, cut), first, line);
    }

    @Override
    public Dataset<LanguageExample> read(RowReader reader, TextTokenizer tokenizer) throws IOException {
        return read(reader, tokenizer, new ArrayList<>());
    }

    /** @param notes collects what a user should know */
    Dataset<LanguageExample> read(RowReader reader, TextTokenizer tokenizer, List<String> notes) throws IOException {
        List<LanguageExample> examples = new ArrayList<>();
        RowBlocks.read(reader, this::characters, rows -> examples.addAll(examples(rows, tokenizer, true)));
        int before = examples.size();
        examples.removeIf(example -> example.counted() == 0);
        if (examples.size() < before) {
            notes.add((before - examples.size()) + " of " + before + " rows of " + reader.file()
                    + " are left out: none of their tokens counts (too short, or their responses begin behind the first "
                    + tokenizer.maxLength() + " tokens)");
        }
        if (examples.isEmpty()) {
            throw new TrainingException("no row of " + reader.file()
                    + " has a token that counts; give longer texts, or a" + " larger task.max_length");
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
        List<Integer> counts = new ArrayList<>();
        for (LanguageExample example : batch.examples()) {
            for (int s = 0; s < example.sequences().size(); s++) {
                counts.add(Math.min(example.read(s), example.sequences().get(s).tokens().length));
            }
        }
        return ReadRows.last(counts);
    }

    @Override
    public double weight(LanguageExample example) {
        return example.counted();
    }

    /** The loss of each read row, [R]; the token that it tells is the next one. */
    private Tensor losses(Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
        Packing rows = reads(head, batch).packing(context);
        long[] labels = new long[Math.toIntExact(rows.rows())];
        Arrays.fill(labels, IGNORED);
        int sequence = 0;
        for (LanguageExample example : batch.examples()) {
            for (int s = 0; s < example.sequences().size(); s++) {
                int[] ids = example.sequences().get(s).tokens();
                for (int i = 0; i < example.counted(s); i++) {
                    labels[(int) rows.begin(sequence) + i] = ids[example.firsts()[s] + i];
                }
                sequence++;
            }
        }
        return ((LanguageHead) head).losses(h, Tensors.ofLongs(labels, labels.length), rows, context);
    }

    @Override
    public Tensor loss(Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
        return Scopes.scoped(() -> losses(head, h, batch, context).sum());
    }

    /** The summed loss of each example. */
    private double[] sums(Head head, Tensor h, Batch<LanguageExample> batch, ForwardContext context) {
        float[] losses = Tensors.toFloats(losses(head, h, batch, context));
        double[] sums = new double[batch.examples().size()];
        int at = 0;
        for (int e = 0; e < sums.length; e++) {
            LanguageExample example = batch.examples().get(e);
            for (int s = 0; s < example.sequences().size(); s++) {
                int rows = Math.min(example.read(s), example.sequences().get(s).tokens().length);
                for (int i = 0; i < rows; i++) {
                    sums[e] += losses[at++];
                }
            }
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
                for (LanguageExample example : batch.examples()) {
                    tokens += example.counted();
                    rows++;
                    cut += example.cut() ? 1 : 0;
                }
            }

            @Override
            public Evaluation evaluation() {
                if (tokens == 0) {
                    throw new IllegalStateException("nothing to evaluate: no token counts");
                }
                Map<String, Double> metrics = new LinkedHashMap<>();
                metrics.put(Evaluation.PERPLEXITY, Math.exp(loss / tokens));
                metrics.put("tokens", (double) tokens);
                return new Evaluation(rows, loss / tokens, metrics, List.of(), List.of(), cut);
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
            map.put("tokens", batch.examples().get(e).counted());
            columns.add(map);
        }
        return columns;
    }
}
