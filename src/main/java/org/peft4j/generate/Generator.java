package org.peft4j.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.TrainingException;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.Model;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.RowTasks;
import org.peft4j.nn.seam.Seeds;

/**
 * Continues prompts, and says how likely texts are. All texts of a call are computed together, each with its own adapter; a
 * result does not depend on what it is computed beside, up to rounding. Immutable, safe from many threads; owns nothing.
 */
public final class Generator {
    private final Model model;
    private final LanguageHead head;
    private final ModelInfo info;

    /** @param head of this model */
    public Generator(Model model, LanguageHead head) {
        this.model = model;
        this.head = head;
        info = model.info();
    }

    /**
     * Continues prompts, all together in an {@link Engine} of its own.
     *
     * @param decoder the text of new tokens; null if none is wanted, which goes without stop strings only
     * @param listener hears of all prompts
     * @return for each prompt its continuation; of several answers the first
     * @throws ConfigException if a prompt is empty or longer than the model's positions, or the cache would not fit
     * @throws TrainingException if logits are not finite
     */
    public List<Generated> generate(
            List<Prompt> prompts, GenerationSettings settings, @Nullable Decoder decoder, GenerationListener listener) {
        return answers(prompts, settings, decoder, listener).stream()
                .map(answers -> answers.get(0))
                .toList();
    }

    /** The same with all answers of each prompt. */
    public List<List<Generated>> answers(
            List<Prompt> prompts, GenerationSettings settings, @Nullable Decoder decoder, GenerationListener listener) {
        if (prompts.isEmpty()) {
            return List.of();
        }
        int sequences = Math.multiplyExact(prompts.size(), settings.answers().width());
        try (Engine engine = new Engine(model, head, Engine.Limits.of(sequences))) {
            List<Request> requests = prompts.stream()
                    .map(prompt -> engine.add(prompt, settings, decoder, listener))
                    .toList();
            engine.run();
            return requests.stream().map(Request::answers).toList();
        }
    }

    private static Packing packing(List<int[]> ids) {
        return Packing.of(ids.stream().mapToInt(of -> of.length).toArray());
    }

    private static Tokens joined(List<int[]> ids) {
        return Tokens.of(ids.stream().flatMapToInt(Arrays::stream).toArray());
    }

    /**
     * A text whose probability is asked for.
     *
     * @param ids its tokens, at least one
     * @param first index of the first token that counts; the first token of all never does: it has no predecessor, or a row
     *     that the adapter inserts, and scores with any adapter are of the same tokens
     * @param adapter with which it is read; null: the plain model
     * @param task which of the adapter's tasks it is of; {@link RowTasks#NONE}: it says none
     */
    @SuppressWarnings("ArrayRecordComponent") // read, and never changed
    public record Scored(int[] ids, int first, @Nullable Adapter adapter, int task) {
        /** One that says no task. */
        public Scored(int[] ids, int first, @Nullable Adapter adapter) {
            this(ids, first, adapter, RowTasks.NONE);
        }

        private int counted() {
            return ids.length - instruction();
        }

        /** The tokens before those that count. */
        private int instruction() {
            return Math.min(ids.length, Math.max(1, first));
        }
    }

    /**
     * How likely a text is.
     *
     * @param logProb the sum of the natural logarithms of its tokens' probabilities
     * @param tokens how many there are in it
     */
    public record Score(double logProb, int tokens) {}

    /** The probabilities of texts, all in one pass; 0 over 0 tokens where none counts. */
    public List<Score> score(List<Scored> texts) {
        for (int i = 0; i < texts.size(); i++) {
            check(
                    info,
                    "text " + i,
                    texts.get(i).ids(),
                    texts.get(i).adapter(),
                    texts.get(i).task());
        }
        if (texts.stream().allMatch(text -> text.counted() == 0)) {
            return texts.stream().map(text -> new Score(0, 0)).toList();
        }
        List<@Nullable Adapter> adapters = new ArrayList<>();
        texts.forEach(text -> adapters.add(text.adapter()));
        List<int[]> ids = texts.stream().map(Scored::ids).toList();
        // The rows before the tokens that count, and the last, because rows are read to the end.
        List<Integer> counts = texts.stream()
                .map(text -> text.counted() == 0 ? 0 : text.counted() + 1)
                .toList();
        try (PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard();
                ForwardContext context = ForwardContext.inference(packing(ids), adapters)
                        .withInstructions(
                                texts.stream().mapToInt(Scored::instruction).toArray())
                        .withTasks(texts.stream().mapToInt(Scored::task).toArray())) {
            ReadRows rows = ReadRows.last(counts);
            Tensor h = BlockRunner.plain().forward(model, joined(ids), rows, context);
            long[] labels = texts.stream().flatMapToLong(Generator::labels).toArray();
            float[] losses = Tensors.toFloats(
                    head.losses(h, Tensors.ofLongs(labels, labels.length), rows.packing(context), context));
            List<Score> scores = new ArrayList<>();
            int at = 0;
            for (int s = 0; s < texts.size(); s++) {
                double sum = 0;
                for (int i = 0; i < counts.get(s); i++) {
                    sum -= losses[at++];
                }
                scores.add(new Score(sum, texts.get(s).counted()));
            }
            return scores;
        }
    }

    private static LongStream labels(Scored text) {
        int n = text.counted();
        int length = text.ids().length;
        return n == 0
                ? LongStream.empty()
                : LongStream.concat(
                        IntStream.range(length - n, length).mapToLong(i -> text.ids()[i]), LongStream.of(-100));
    }

    /** @param what it is called in messages */
    static void check(ModelInfo info, String what, int[] ids, @Nullable Adapter adapter, int task) {
        if (adapter != null) {
            RowTasks.check(adapter, task, what);
        }
        if (ids.length == 0) {
            throw new ConfigException(what + " must have at least one token, has none; a tokenizer that puts"
                    + " a start token before texts gives one for the empty text");
        }
        if (adapter != null && ids.length > adapter.longestText()) {
            throw new ConfigException(what + " has " + ids.length + " tokens, but the adapter '" + adapter.name()
                    + "' has rows for texts of at most " + adapter.longestText() + "; shorten it");
        }
        int taken = adapter == null ? 0 : adapter.positions();
        if (info.limited() && ids.length > info.maxPositions() - taken) {
            throw new ConfigException(what + " has " + ids.length + " tokens, but the model has "
                    + info.maxPositions() + " positions"
                    + (taken == 0 ? "" : ", of which the adapter '" + adapter.name() + "' takes " + taken)
                    + "; shorten it");
        }
    }

    /** A seed for the draws of a prompt. */
    static long seed(Sampling sampling, long number) {
        return Seeds.mix(sampling.seed(), "prompt " + number);
    }
}
