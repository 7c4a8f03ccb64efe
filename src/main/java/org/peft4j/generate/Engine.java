package org.peft4j.generate;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.TrainingException;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.CardMemory;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.Model;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.Tokens;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Device;

/**
 * Continues prompts with continuous batching over a paged cache: requests may be added at any time, and each {@link #step} lets in
 * those that there is room for, gives every sequence that goes on one token more, and frees what those that end had. So a short
 * answer never waits for a long one beside it.
 *
 * <p>Requests are let in in the order in which they were added, never one before another that waits longer. One is let in when its
 * blocks are to be had, as many as it may come to need: what is let in always gets to its end. A step computes at most two calls of
 * the model: prompts that begin as a whole, and the newest tokens of the others; each row with the adapter of its prompt. A result
 * does not depend on what it is computed beside, up to rounding.
 *
 * <p>Belongs to one thread: the one that steps adds and cancels, too. Adapters must stay open while requests use them. An engine
 * whose step threw is only to be closed. {@link #close} frees the cache and cancels what goes on; the model is the caller's.
 */
public final class Engine implements AutoCloseable {
    private static final ReadRows LAST = ReadRows.last(1);

    /** So much of the memory that tensors leave may be keys and values; the rest is for what is computed. */
    private static final double SHARE = 0.8;

    /** A step begins prompts of so many tokens together at most, or one. */
    private static final int BEGUN_AT_ONCE = 4096;

    /**
     * How much goes on at once.
     *
     * @param sequences the most that are computed together
     * @param cacheBytes the most memory for keys and values, which is taken as it is needed; 0: four fifths of what the model's
     *     device has beside the tensors that there are when the engine is made
     */
    public record Limits(int sequences, long cacheBytes) {
        public Limits {
            if (sequences < 1) {
                throw new ConfigException("an engine must compute at least 1 sequence at once, got " + sequences);
            }
            if (cacheBytes < 0) {
                throw new ConfigException("an engine's cache must have bytes, 0 for a default, got " + cacheBytes);
            }
        }

        /** So many sequences, and the default memory. */
        public static Limits of(int sequences) {
            return new Limits(sequences, 0);
        }
    }

    /**
     * What an engine is at.
     *
     * @param waiting requests that were not let in yet
     * @param sequences that go on
     * @param blocks of the cache that hold rows, of {@value Cache#BLOCK} each
     * @param promised blocks that those which were let in have or may still take
     * @param most blocks there may be
     */
    public record Load(int waiting, int sequences, int blocks, long promised, long most) {}

    private final Model model;
    private final LanguageHead head;
    private final ModelInfo info;
    private final Limits limits;
    private final Cache cache;
    private final double bytesOfBlock;
    private final Deque<Request> waiting = new ArrayDeque<>();
    private List<Group> groups = new ArrayList<>();
    private boolean noted;
    private boolean uncalled; // somebody was told of a prompt without an invocation
    private boolean broken;
    private @Nullable ForwardContext last; // the newest call
    private boolean closed;

    /** @param head of this model */
    public Engine(Model model, LanguageHead head, Limits limits) {
        this.model = model;
        this.head = head;
        this.limits = limits;
        info = model.info();
        RowType type = RowType.of(model);
        bytesOfBlock = Pools.bytesOfBlock(info.output(), Cache.BLOCK, type.bytes());
        double bytes = cacheBytes(model, limits);
        cache = new Cache(info.output(), type.type(), model.device(), (long) (bytes / bytesOfBlock));
    }

    private static double cacheBytes(Model model, Limits limits) {
        long room = CardMemory.room(model);
        if (limits.cacheBytes() == 0) {
            return SHARE * room;
        }
        if (!model.device().isCpu() && limits.cacheBytes() > room) {
            throw new ConfigException("a cache of " + limits.cacheBytes() + " bytes does not fit on " + model.device()
                    + ", which has " + room + " free beside the model; ask for less, or for 0, the default");
        }
        return limits.cacheBytes();
    }

    /** Keys and values have the type of the activations; a number of it has so many bytes. */
    private record RowType(ScalarType type, long bytes) {
        static RowType of(Model model) {
            try (PointerScope scope = new PointerScope();
                    NoGradGuard noGrad = new NoGradGuard();
                    ForwardContext context = ForwardContext.inference(Packing.of(1))) {
                Tensor row = model.embed(Tokens.of(0), context);
                return new RowType(row.scalar_type(), row.element_size());
            }
        }
    }

    /**
     * Adds a request, which waits for the next {@link #step}.
     *
     * @param decoder the text of new tokens; null if none is wanted, which goes without stop strings only
     * @param listener hears of it; what it throws comes out of {@link #step}
     * @throws ConfigException if settings make no sense together; if the prompt is empty or longer than the model's positions, or can never be let in: its rows are more
     *     than the cache may have, its sequences more than go on at once, or its search looks at more tokens than there are
     */
    public Request add(
            Prompt prompt, GenerationSettings settings, @Nullable Decoder decoder, GenerationListener listener) {
        open();
        if (decoder == null && !settings.stop().isEmpty()) {
            throw new IllegalArgumentException("stop strings need a decoder");
        }
        settings.checkTogether();
        Generator.check(info, prompt.name(), prompt.ids(), prompt.adapter(), prompt.task());
        Request request = new Request(prompt, settings, room(prompt, settings), decoder, listener);
        check(request);
        noteInvocation(request);
        waiting.add(request);
        return request;
    }

    private void check(Request request) {
        GenerationSettings settings = request.settings();
        String what = request.prompt().name();
        int width = settings.answers().width();
        if (width > limits.sequences()) {
            throw new ConfigException(what + " wants " + width + " sequences at once ("
                    + (settings.answers().search() == null ? "n" : "num_beams") + "), but at most "
                    + limits.sequences() + " are computed together; allow more, or ask for fewer");
        }
        if (Beams.looked(settings) > info.vocabulary()) {
            throw new ConfigException(what + ": a search with num_beams " + width + " and "
                    + settings.endTokens().size() + " end tokens looks at " + Beams.looked(settings)
                    + " tokens in each step, but the vocabulary has " + info.vocabulary() + "; use fewer beams");
        }
        Cache.Need need = need(request);
        if (need.own() + need.ofPrefix() > cache.blocks().most()) {
            throw new ConfigException(String.format(
                    Locale.ROOT,
                    "%s: keys and values of %s with up to %,d rows would take %s, the cache may have %s; ask for fewer"
                            + " tokens (--max-new-tokens)%s",
                    what,
                    width == 1 ? "a sequence" : width + " sequences",
                    need.prefix() + need.rows(),
                    size(need.own() + need.ofPrefix()),
                    size(cache.blocks().most()),
                    width == 1 ? "" : " or answers (--n, --beams)"));
        }
    }

    private String size(long blocks) {
        double bytes = blocks * bytesOfBlock;
        return bytes < 0x1p20
                ? String.format(Locale.ROOT, "%.1f KiB", bytes / 0x1p10)
                : bytes < 0x1p30
                        ? String.format(Locale.ROOT, "%.1f MiB", bytes / 0x1p20)
                        : String.format(Locale.ROOT, "%.1f GiB", bytes / 0x1p30);
    }

    private static Cache.Need need(Request request) {
        Prompt prompt = request.prompt();
        Adapter adapter = prompt.adapter();
        int inserted = adapter == null ? 0 : adapter.inserted();
        int prefix = adapter == null ? 0 : adapter.prefix();
        long begun = inserted + (long) prompt.ids().length;
        // The last new token is never read.
        return new Cache.Need(
                prefix,
                adapter == null || prefix == 0 || !adapter.sharesPrefix() || adapter.tasks() > 1 ? null : adapter,
                begun,
                begun + request.room() - 1,
                request.settings().answers().width());
    }

    /** How many tokens can be new: the last one is never read, so it needs no position. */
    private int room(Prompt prompt, GenerationSettings settings) {
        if (!info.limited()) {
            return settings.maxNewTokens();
        }
        int taken = prompt.adapter() == null ? 0 : prompt.adapter().positions();
        return Math.min(settings.maxNewTokens(), info.maxPositions() - taken - prompt.ids().length + 1);
    }

    /** Takes a request out, whether it waits or goes on; one that is done stays as it is. */
    public void cancel(Request request) {
        open();
        if (request.done()) {
            return;
        }
        waiting.remove(request);
        for (Group group : groups) {
            if (group.request == request) {
                group.leave();
            }
        }
        groups.removeIf(group -> group.request == request);
        request.finish();
    }

    /** What it is at. */
    public Load load() {
        int sequences = groups.stream().mapToInt(group -> group.going().size()).sum();
        Blocks blocks = cache.blocks();
        return new Load(waiting.size(), sequences, blocks.taken(), blocks.promised(), blocks.most());
    }

    /** Whether there is nothing to do. */
    public boolean idle() {
        return waiting.isEmpty() && groups.isEmpty();
    }

    /**
     * Lets requests in and gives each sequence that goes on a token.
     *
     * @return whether there is more to do
     */
    public boolean step() {
        open();
        broken = true;
        letIn();
        try (NoGradGuard noGrad = new NoGradGuard()) {
            Map<Group, List<float[]>> logits = logits();
            List<Group> on = new ArrayList<>();
            for (Group group : groups) {
                if (goesOn(group, Objects.requireNonNull(logits.get(group)))) {
                    on.add(group);
                }
            }
            groups = on;
        }
        broken = false;
        return !idle();
    }

    /** Steps until there is nothing to do. */
    public void run() {
        while (!idle()) {
            step();
        }
    }

    private void open() {
        if (closed || broken) {
            throw new IllegalStateException(closed ? "the engine is closed" : "a step of the engine failed");
        }
    }

    private void letIn() {
        int sequences = groups.stream().mapToInt(Group::width).sum();
        long begun = 0;
        while (!waiting.isEmpty()) {
            Request next = waiting.peek();
            Cache.Need need = need(next);
            if (sequences + need.width() > limits.sequences()
                    || !cache.fits(need)
                    || (begun > 0 && begun + need.begun() > BEGUN_AT_ONCE)) {
                return; // and nobody behind it comes before it
            }
            waiting.remove();
            groups.add(Group.of(next, cache, need));
            sequences += need.width();
            begun += need.begun();
        }
    }

    /** Whether the group has more to do. */
    private boolean goesOn(Group group, List<float[]> logits) {
        Request request = group.request;
        float wrong = notFinite(logits);
        if (!Float.isFinite(wrong)) {
            group.leave();
            request.fail(new TrainingException(request.prompt().name()
                    + ": the logits are not finite, got " + wrong
                    + "; the model's or the adapter's weights are not finite or too large, try dtype float32"));
            return false;
        }
        group.take(logits);
        if (group.width() > 0) {
            return true;
        }
        group.leave();
        request.finish();
        return false;
    }

    /** One that is not finite, else some that is. */
    private static float notFinite(List<float[]> logits) {
        for (float[] own : logits) {
            for (float logit : own) {
                if (!(Math.abs(logit) <= Float.MAX_VALUE)) {
                    return logit;
                }
            }
        }
        return 0;
    }

    /** Of an adapter, or of the plain model, and of one of its tasks. */
    private record Kind(@Nullable Adapter adapter, int task) {}

    /** Those behind the newest token of each group's sequences. Sequences of one adapter and task are neighbours in a call. */
    private Map<Group, List<float[]>> logits() {
        Map<Group, List<float[]>> logits = new IdentityHashMap<>();
        Map<Kind, List<Row>> begin = new LinkedHashMap<>();
        Map<Kind, List<Row>> goOn = new LinkedHashMap<>();
        for (Group group : groups) {
            List<Sequence> going = group.going();
            List<float[]> own = new ArrayList<>();
            logits.put(group, own);
            for (int i = 0; i < going.size(); i++) {
                own.add(new float[0]);
                Sequence sequence = going.get(i);
                note(sequence, group);
                (continues(sequence) ? goOn : begin)
                        .computeIfAbsent(
                                new Kind(sequence.adapter(), sequence.prompt().task()), kind -> new ArrayList<>())
                        .add(new Row(sequence, own, i));
            }
        }
        call(begin, false);
        call(goOn, true);
        return logits;
    }

    /** @param index where among its group's logits its own belong */
    private record Row(Sequence sequence, List<float[]> logits, int index) {}

    /** Rows of earlier calls count as long as the model gives the same for them. */
    private boolean continues(Sequence sequence) {
        Adapter adapter = sequence.adapter();
        return sequence.place().filled()
                && (adapter == null || adapter.routing() == null) // which reads texts as a whole
                && model.rowsVersion(sequence.position()) == model.rowsVersion(sequence.position() - 1);
    }

    /** Says it once if an adapter that acts from certain tokens on has a prompt without them. */
    private void noteInvocation(Request request) {
        Prompt prompt = request.prompt();
        Adapter adapter = prompt.adapter();
        if (uncalled || adapter == null) {
            return;
        }
        for (List<Integer> tokens : adapter.invocations()) {
            if (!ForwardContext.has(tokens, prompt.ids())) {
                uncalled = true;
                request.listener()
                        .note(prompt.name() + " does not have the tokens " + tokens + " from which on the adapter '"
                                + adapter.name() + "' acts (alora_invocation_tokens): the plain model answers");
            }
        }
    }

    private void note(Sequence sequence, Group group) {
        if (!noted && sequence.position() > info.maxPositions()) {
            noted = true;
            group.request
                    .listener()
                    .note("a text has more than " + info.maxPositions() + " positions, for which the model was"
                            + " made (max_position_embeddings): what follows may make less sense");
        }
    }

    private void call(Map<Kind, List<Row>> byKind, boolean continuing) {
        if (byKind.isEmpty()) {
            return;
        }
        List<Row> rows = byKind.values().stream().flatMap(List::stream).toList();
        List<int[]> ids = new ArrayList<>();
        List<@Nullable Adapter> adapters = new ArrayList<>();
        List<Cache.Place> places = new ArrayList<>();
        for (Row row : rows) {
            ids.add(continuing ? row.sequence().newest() : row.sequence().whole());
            adapters.add(row.sequence().adapter());
            places.add(row.sequence().place());
        }
        try (PointerScope scope = new PointerScope()) {
            cache.choose(places, continuing);
            Packing packing = Packing.of(ids.stream().mapToInt(of -> of.length).toArray());
            int[] tasks = rows.stream()
                    .mapToInt(row -> row.sequence().prompt().task())
                    .toArray();
            ForwardContext call = ForwardContext.continued(packing, adapters, tasks, cache, last)
                    .withPrompts(rows.stream()
                            .map(row -> row.sequence().prompt().ids())
                            .toList());
            try (ForwardContext context = continuing ? call : call.withInstructions(prompts(rows))) {
                last = context;
                cache.begin(context.packing()); // inserted rows, too
                Tokens tokens =
                        Tokens.of(ids.stream().flatMapToInt(Arrays::stream).toArray());
                Tensor h = BlockRunner.plain().forward(model, tokens, LAST, context);
                read(head.forward(h, LAST.packing(context), context), rows);
                cache.end();
            }
        }
    }

    /** Of sequences that are read as a whole the tokens that are not new. */
    private static int[] prompts(List<Row> rows) {
        return rows.stream()
                .mapToInt(row -> row.sequence().prompt().ids().length)
                .toArray();
    }

    /** @param logits float32 [sequences, vocabulary] */
    private static void read(Tensor logits, List<Row> rows) {
        Tensor plain = Device.CPU.move(logits).contiguous();
        int vocabulary = Math.toIntExact(plain.size(1));
        FloatPointer all = new FloatPointer(plain.data_ptr());
        for (int s = 0; s < rows.size(); s++) {
            float[] own = new float[vocabulary];
            all.position((long) s * vocabulary).get(own);
            rows.get(s).logits().set(rows.get(s).index(), own);
        }
    }

    /** Frees the cache; what waits or goes on is cancelled. Closing twice does nothing. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            waiting.forEach(Request::finish);
            groups.forEach(group -> group.request.finish());
            waiting.clear();
            groups = List.of();
            cache.close();
        }
    }
}
