package org.peft4j.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
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
import org.peft4j.nn.seam.Seeds;

/**
 * Continues prompts, and says how likely texts are. All prompts of a call are computed together, each with its own adapter; a
 * result does not depend on what it is computed beside, up to rounding. Immutable, safe from many threads; owns nothing.
 */
public final class Generator {
    private static final ReadRows LAST = ReadRows.last(1);

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
     * Continues prompts: all tokens of all prompts in one pass, then one token of each that goes on in a pass.
     *
     * @param decoder the text of new tokens; null if none is wanted, which goes without stop strings only
     * @return for each prompt its continuation
     * @throws ConfigException if a prompt is empty or longer than the model's positions, or the cache would not fit
     * @throws TrainingException if logits are not finite
     */
    public List<Generated> generate(
            List<Prompt> prompts, GenerationSettings settings, @Nullable Decoder decoder, GenerationListener listener) {
        if (decoder == null && !settings.stop().isEmpty()) {
            throw new IllegalArgumentException("stop strings need a decoder");
        }
        if (prompts.isEmpty()) {
            return List.of();
        }
        for (int i = 0; i < prompts.size(); i++) {
            check(i, prompts.get(i).ids(), prompts.get(i).adapter());
        }
        List<Continuation> all = new ArrayList<>();
        for (int i = 0; i < prompts.size(); i++) {
            all.add(new Continuation(i, prompts.get(i), settings, room(prompts.get(i), settings), decoder));
        }
        List<Cache.Place> places = all.stream().map(this::place).toList();
        try (NoGradGuard noGrad = new NoGradGuard();
                Cache cache = new Cache(info.output(), places)) {
            boolean noted = false;
            for (List<Continuation> active = all; !active.isEmpty(); active = going(active)) {
                if (!noted && active.stream().anyMatch(one -> one.position() > info.maxPositions())) {
                    noted = true;
                    listener.note("a text has more than " + info.maxPositions() + " positions, for which the model was"
                            + " made (max_position_embeddings): what follows may make less sense");
                }
                step(active, cache, listener);
            }
        }
        return all.stream().map(Continuation::result).toList();
    }

    private static List<Continuation> going(List<Continuation> active) {
        return active.stream().filter(one -> !one.done()).toList();
    }

    private Cache.Place place(Continuation one) {
        Adapter adapter = one.prompt().adapter();
        int taken = adapter == null ? 0 : adapter.positions();
        int inserted = adapter == null ? 0 : adapter.inserted();
        int prefix = taken - inserted;
        long rows = inserted + one.prompt().ids().length + (long) one.room();
        return new Cache.Place(prefix, prefix == 0 ? null : adapter, rows);
    }

    /**
     * A token for each: of those whose rows the cache has, from their newest tokens; of others, which begin or whose rows are
     * other ones now, from all of them.
     */
    private void step(List<Continuation> active, Cache cache, GenerationListener listener) {
        Map<Boolean, List<Continuation>> byCache =
                active.stream().collect(Collectors.partitioningBy(one -> continues(one, cache)));
        Map<Continuation, float[]> logits = new HashMap<>();
        byCache.forEach((continuing, some) -> {
            if (!some.isEmpty()) {
                logits.putAll(logits(some, continuing, cache));
            }
        });
        for (Continuation one : active) {
            one.take(Objects.requireNonNull(logits.get(one)), listener);
        }
    }

    private boolean continues(Continuation one, Cache cache) {
        return cache.has(one.index()) && model.rowsVersion(one.position()) == model.rowsVersion(one.position() - 1);
    }

    private Map<Continuation, float[]> logits(List<Continuation> some, boolean continuing, Cache cache) {
        Map<Continuation, float[]> logits = new HashMap<>();
        try (PointerScope scope = new PointerScope()) {
            List<int[]> ids = some.stream()
                    .map(one -> continuing ? one.newest() : one.whole())
                    .toList();
            List<@Nullable Adapter> adapters = new ArrayList<>();
            some.forEach(one -> adapters.add(one.prompt().adapter()));
            cache.choose(some.stream().mapToInt(Continuation::index).toArray(), continuing);
            ForwardContext context = ForwardContext.continued(packing(ids), adapters, cache);
            cache.begin(context.packing()); // inserted rows, too
            float[] values = last(ids, context);
            cache.end();
            int vocabulary = values.length / some.size();
            for (int s = 0; s < some.size(); s++) {
                float[] own = Arrays.copyOfRange(values, s * vocabulary, (s + 1) * vocabulary);
                check(some.get(s).index(), own);
                logits.put(some.get(s), own);
            }
        }
        return logits;
    }

    /** The logits behind the last row of each sequence; closes the context. */
    private float[] last(List<int[]> ids, ForwardContext ofTheCall) {
        try (ForwardContext context = ofTheCall) {
            Tensor h = BlockRunner.plain().forward(model, joined(ids), LAST, context);
            return Tensors.toFloats(head.forward(h, LAST.packing(context), context));
        }
    }

    private static void check(int prompt, float[] logits) {
        for (float logit : logits) {
            if (!Float.isFinite(logit)) {
                throw new TrainingException("prompt " + prompt + ": the logits are not finite, got " + logit
                        + "; the model's or the adapter's weights are not finite or too large, try dtype float32");
            }
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
     */
    @SuppressWarnings("ArrayRecordComponent") // read, and never changed
    public record Scored(int[] ids, int first, @Nullable Adapter adapter) {
        private int counted() {
            return Math.max(0, ids.length - Math.max(1, first));
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
            check(i, texts.get(i).ids(), texts.get(i).adapter());
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
                ForwardContext context = ForwardContext.inference(packing(ids), adapters)) {
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

    private void check(int index, int[] ids, @Nullable Adapter adapter) {
        if (ids.length == 0) {
            throw new ConfigException(
                    "prompt " + index + " must have at least one token, has none; a tokenizer that puts"
                            + " a start token before texts gives one for the empty text");
        }
        int taken = adapter == null ? 0 : adapter.positions();
        if (info.limited() && ids.length > info.maxPositions() - taken) {
            throw new ConfigException("prompt " + index + " has " + ids.length + " tokens, but the model has "
                    + info.maxPositions() + " positions"
                    + (taken == 0 ? "" : ", of which the adapter '" + adapter.name() + "' takes " + taken)
                    + "; shorten it");
        }
    }

    /** How many tokens can be new: the last one is never read, so it needs no position. */
    private int room(Prompt prompt, GenerationSettings settings) {
        if (!info.limited()) {
            return settings.maxNewTokens();
        }
        int taken = prompt.adapter() == null ? 0 : prompt.adapter().positions();
        return Math.min(settings.maxNewTokens(), info.maxPositions() - taken - prompt.ids().length + 1);
    }

    /** A seed for the draws of a prompt. */
    static long seed(Sampling sampling, long number) {
        return Seeds.mix(sampling.seed(), "prompt " + number);
    }
}
