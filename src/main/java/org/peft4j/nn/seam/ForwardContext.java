package org.peft4j.nn.seam;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.function.Supplier;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Device;

/**
 * Everything that changes from call to call: how the sequences lie, which adapters apply to which of them, training or
 * not, and the seed of this call's dropout. Made for one forward and closed behind it (and behind its backward).
 *
 * <p>Belongs to one thread; models and adapters may be shared by many contexts at once.
 */
public final class ForwardContext implements AutoCloseable {
    private static final String INSTRUCTION = "instruction";

    /**
     * Sequences [first, last) and the adapters that apply to them, in order; none means the plain model. Adapters whose
     * claims cannot hold together are refused ({@link org.peft4j.error.ConfigException}).
     *
     * @param task of all of them; {@link RowTasks#NONE} where they say none, and where no adapter has tasks
     */
    public record Segment(int first, int last, List<Adapter> adapters, int task) {
        public Segment {
            adapters = List.copyOf(adapters);
            if (!hasTasks(adapters)) {
                task = RowTasks.NONE;
            }
            if (first < 0 || last < first) {
                throw new IllegalArgumentException("a segment is [first, last), got [" + first + ", " + last + ")");
            }
            if (adapters.size() > 1) {
                Conflicts.check(adapters);
            }
        }

        /** What weighs the updates of these sequences' adapter, which is alone then; or null. */
        public @Nullable Routing routing() {
            return adapters.size() == 1 ? adapters.get(0).routing() : null;
        }

        /** Sequences that say no task. */
        public Segment(int first, int last, List<Adapter> adapters) {
            this(first, last, adapters, RowTasks.NONE);
        }

        private static boolean hasTasks(List<Adapter> adapters) {
            return adapters.stream().anyMatch(adapter -> adapter.tasks() > 0);
        }

        /** Refuses a task that an adapter does not have, and none where one is needed. */
        void checkTask() {
            for (Adapter adapter : adapters) {
                if (adapter.tasks() > 0) {
                    RowTasks.check(adapter, task, "sequence " + first);
                }
            }
        }

        /** The same sequences, neighbours of one task each. */
        private List<Segment> byTask(int[] tasks) {
            if (!hasTasks(adapters)) {
                return List.of(this);
            }
            List<Segment> parts = new ArrayList<>();
            for (int s = first; s < last; ) {
                int from = s;
                while (s < last && tasks[s] == tasks[from]) {
                    s++;
                }
                parts.add(new Segment(from, s, adapters, tasks[from]));
            }
            return parts;
        }
    }

    /** Under this the weights of a segment are among what was made once; a routing is the same as itself alone. */
    private record Weighted(Routing routing, int first) {}

    /**
     * A call that this one is a part of.
     *
     * @param first number of its sequence that is the first here
     */
    private record Whole(ForwardContext context, int first) {}

    /** What adapters claim for these segments, and what follows from it: found once, for all calls that have the same. */
    private record Resolved(List<Segment> segments, Map<Point<?>, Claims<?>> claims, Map<Object, Object> plans) {
        Resolved(List<Segment> segments) {
            this(List.copyOf(segments), new IdentityHashMap<>(), new IdentityHashMap<>());
        }
    }

    private final Packing text;
    private final Resolved resolved;
    private final List<Segment> segments;
    private final int[] inserted; // rows before each sequence's text
    private final long[] firstPositions; // of each sequence's first row
    private final Packing packing;
    private final boolean training;
    private final long seed;
    private final @Nullable KeyValueCache cache;
    private final int @Nullable [] instructions; // first rows of each text; null: all
    private final boolean promptsInside;
    private final Invocations invocations;
    private final Map<Object, Shared> made;
    private @Nullable Whole whole;

    private ForwardContext(Packing text, List<Segment> segments, boolean training, long seed) {
        this(text, new Resolved(segments), training, seed, null);
    }

    private ForwardContext(
            Packing text, Resolved resolved, boolean training, long seed, @Nullable KeyValueCache cache) {
        this.cache = cache;
        this.text = text;
        this.resolved = resolved;
        segments = resolved.segments();
        inserted = new int[text.sequences()];
        firstPositions = new long[text.sequences()];
        for (Segment segment : segments) {
            TextLengths.check(text, segment, cache != null);
            int before = InsertedRowsOf.count(segment);
            if (begins()) { // inserted rows are among those of the first call
                PositionUpdates.check(text, segment);
                Arrays.fill(inserted, segment.first(), segment.last(), before);
            }
            for (int s = segment.first(); s < segment.last(); s++) {
                firstPositions[s] = before(segment) - before + (cache == null ? 0L : cache.length(s));
            }
        }
        packing = InsertedRowsOf.packing(text, inserted);
        this.training = training;
        this.seed = seed;
        instructions = null;
        promptsInside = false;
        invocations = new Invocations(null);
        made = new HashMap<>();
    }

    /** Another one of the same call; what it made once is theirs together. */
    private ForwardContext(
            ForwardContext of,
            Resolved resolved,
            int[] inserted,
            long[] firstPositions,
            int @Nullable [] instructions,
            boolean inside,
            Invocations invocations) {
        this.invocations = invocations;
        text = of.text;
        this.resolved = resolved;
        segments = resolved.segments();
        this.inserted = inserted;
        this.firstPositions = firstPositions;
        packing = inserted == of.inserted ? of.packing : InsertedRowsOf.packing(text, inserted);
        training = of.training;
        seed = of.seed;
        cache = of.cache;
        this.instructions = instructions;
        promptsInside = inside;
        made = of.made;
        whole = of.whole;
    }

    /** A call without training: no dropout. */
    public static ForwardContext inference(Packing packing, Adapter... adapters) {
        return new ForwardContext(packing, List.of(new Segment(0, packing.sequences(), List.of(adapters))), false, 0);
    }

    /**
     * A call without training whose sequences belong to different adapters.
     *
     * @param adapterOf for each sequence its adapter, or null for the plain model
     */
    public static ForwardContext inference(Packing packing, List<@Nullable Adapter> adapterOf) {
        return new ForwardContext(packing, segments(packing, adapterOf), false, 0);
    }

    /**
     * A call without training whose sequences have several adapters each.
     *
     * @param adaptersOf for each sequence its adapters, in order; none means the plain model
     */
    public static ForwardContext inferenceOfSeveral(Packing packing, List<List<Adapter>> adaptersOf) {
        if (adaptersOf.size() != packing.sequences()) {
            throw new IllegalArgumentException(
                    packing.sequences() + " sequences need as many lists of adapters, got " + adaptersOf.size());
        }
        List<Segment> segments = new ArrayList<>();
        for (int s = 0; s < adaptersOf.size(); ) {
            int first = s;
            while (s < adaptersOf.size() && adaptersOf.get(s).equals(adaptersOf.get(first))) {
                s++;
            }
            segments.add(new Segment(first, s, adaptersOf.get(first)));
        }
        return new ForwardContext(packing, segments, false, 0);
    }

    /**
     * The same for rows that come behind those of earlier calls.
     *
     * @param packing this call's rows
     * @param cache the earlier calls' rows, and those of this one for the next
     * @param before an earlier call, which may be closed: what it found out about its adapters is kept if they are the same; or
     *     null
     */
    public static ForwardContext continued(
            Packing packing, List<@Nullable Adapter> adapterOf, KeyValueCache cache, @Nullable ForwardContext before) {
        return continued(packing, adapterOf, null, cache, before);
    }

    /**
     * The same for sequences that are of tasks.
     *
     * @param tasks as in {@link #withTasks}; null: none says one
     */
    public static ForwardContext continued(
            Packing packing,
            List<@Nullable Adapter> adapterOf,
            int @Nullable [] tasks,
            KeyValueCache cache,
            @Nullable ForwardContext before) {
        List<Segment> segments = byTask(segments(packing, adapterOf), tasks);
        boolean same = before != null && before.segments.equals(segments);
        return new ForwardContext(packing, same ? before.resolved : new Resolved(segments), false, 0, cache);
    }

    /** @param seed of this micro-batch, see {@link Seeds} */
    public static ForwardContext training(Packing packing, long seed, Adapter... adapters) {
        return new ForwardContext(packing, List.of(new Segment(0, packing.sequences(), List.of(adapters))), true, seed);
    }

    /** Training of several adapters at once, each with its own sequences. */
    public static ForwardContext training(Packing packing, long seed, List<@Nullable Adapter> adapterOf) {
        return new ForwardContext(packing, segments(packing, adapterOf), true, seed);
    }

    private static List<Segment> segments(Packing packing, List<@Nullable Adapter> adapterOf) {
        if (adapterOf.size() != packing.sequences()) {
            throw new IllegalArgumentException(
                    packing.sequences() + " sequences need as many adapters, got " + adapterOf.size());
        }
        List<Segment> segments = new ArrayList<>();
        for (int s = 0; s < adapterOf.size(); ) {
            Adapter adapter = adapterOf.get(s);
            int first = s;
            while (s < adapterOf.size() && adapterOf.get(s) == adapter) {
                s++;
            }
            segments.add(new Segment(first, s, adapter == null ? List.of() : List.of(adapter)));
        }
        return segments;
    }

    /** Sequences [first, last) of this call by themselves, for what comes behind the blocks. To be closed, too. */
    public ForwardContext slice(int first, int last) {
        List<Segment> own = new ArrayList<>();
        for (Segment segment : segments) {
            int from = Math.max(first, segment.first());
            int to = Math.min(last, segment.last());
            if (from < to) {
                own.add(new Segment(from - first, to - first, segment.adapters(), segment.task()));
            }
        }
        ForwardContext part = new ForwardContext(text.slice(first, last), own, training, seed);
        ForwardContext slice = new ForwardContext(
                part, part.resolved, part.inserted, part.firstPositions, null, false, invocations.slice(first, last));
        slice.whole = new Whole(this, first);
        return instructions == null ? slice : slice.withInstructions(Arrays.copyOfRange(instructions, first, last));
    }

    /**
     * This call, whose texts begin with their instructions; it takes this one's place. Where nothing is said a text is its
     * instruction as a whole.
     *
     * @param rows how many of each text's first rows are its instruction
     */
    public ForwardContext withInstructions(int... rows) {
        if (rows.length != text.sequences()) {
            throw new IllegalArgumentException(
                    text.sequences() + " sequences need as many lengths of instructions, got " + rows.length);
        }
        for (int s = 0; s < rows.length; s++) {
            if (rows[s] < 0 || rows[s] > text.length(s)) {
                throw new IllegalArgumentException("the instruction of sequence " + s + " must have 0 to "
                        + text.length(s) + " rows, got " + rows[s]);
            }
        }
        return new ForwardContext(this, resolved, inserted, firstPositions, rows.clone(), promptsInside, invocations);
    }

    /**
     * This call, of whose texts only the prompts say where an adapter that waits for certain tokens begins to act
     * ({@link LowRank#invocation}): what is written behind a prompt calls nothing up. It takes this one's place. Rows behind those
     * of earlier calls need it, if there is such an adapter.
     *
     * @param prompts the whole prompt of each sequence, with which its text begins
     */
    public ForwardContext withPrompts(List<int[]> prompts) {
        if (prompts.size() != text.sequences()) {
            throw new IllegalArgumentException(
                    text.sequences() + " sequences need as many prompts, got " + prompts.size());
        }
        return new ForwardContext(
                this,
                resolved,
                inserted,
                firstPositions,
                instructions,
                promptsInside,
                new Invocations(List.copyOf(prompts)));
    }

    /** Says the tokens of the texts, which are about to go through the model. */
    public void read(int... ids) {
        invocations.read(ids, text);
    }

    /** Whether a text has these tokens, one behind the other. */
    public static boolean has(List<Integer> invocation, int... text) {
        return Invocations.last(invocation, text) >= 0;
    }

    /** Whether an adapter waits for certain tokens, which no text may have, or acts on rows behind blocks, which nobody may read. */
    public boolean mayActOnNoRow() {
        return segments.stream()
                .flatMap(segment -> segment.adapters().stream())
                .anyMatch(adapter -> !adapter.invocations().isEmpty()
                        || !adapter.claims(BlockPoint.class).isEmpty());
    }

    /**
     * How many tokens the prompt has with which a text begins: that of {@link #withPrompts}, or the instruction of
     * {@link #withInstructions}. Where nothing was said, and where the first token alone is the instruction (of a text all of which
     * is learnt), it is the text as a whole.
     *
     * @throws IllegalStateException if the rows of this call continue those of earlier ones and nobody said the prompts
     */
    public int promptLength(int sequence) {
        OptionalInt said = invocations.promptLength(sequence);
        if (said.isPresent()) {
            return said.getAsInt();
        }
        if (!begins()) {
            throw new IllegalStateException(
                    "an adapter acts on places of a text's prompt, but this call, whose rows continue"
                            + " those of earlier ones, was not told the prompts");
        }
        return instructions == null || instructions[sequence] <= 1 ? text.length(sequence) : instructions[sequence];
    }

    /** How many tokens of a text stand in earlier calls. */
    public int tokensBefore(int sequence) {
        return cache == null || begins() ? 0 : cache.length(sequence) - InsertedRowsOf.count(segmentOf(sequence));
    }

    /** Whether an adapter needs every row of its sequences in each block ({@link Adapter#readsAllRows}). */
    public boolean readsAllRows() {
        return segments.stream().flatMap(segment -> segment.adapters().stream()).anyMatch(Adapter::readsAllRows);
    }

    /** Rows [first, last) of a tensor. */
    public record Rows(long first, long last) {}

    /**
     * The rows on which an adapter acts that waits for certain tokens: those from their last occurrence in each text on.
     *
     * @param invocation the tokens; empty: it acts on all rows
     * @param rows how the rows lie, which may be some of each sequence, or stand before all texts
     * @param first number of the first sequence that has the adapter
     * @param last the one behind its last
     * @return the rows by their numbers in the tensor that lies so; neighbours are one
     */
    public List<Rows> acting(List<Integer> invocation, Packing rows, int first, int last) {
        if (invocation.isEmpty()) {
            return first == last ? List.of() : List.of(new Rows(rows.begin(first), rows.end(last - 1)));
        }
        long[] counts = invocations.counts(invocation, this::acting);
        List<Rows> acting = new ArrayList<>();
        for (int s = first; s < last; s++) {
            long n = Math.min(rows.length(s), Math.max(0, counts[s] - rows.behind(s)));
            long end = rows.end(s);
            Rows before = acting.isEmpty() ? null : acting.get(acting.size() - 1);
            if (n > 0 && before != null && before.last() == end - n) {
                acting.set(acting.size() - 1, new Rows(before.first(), end));
            } else if (n > 0) {
                acting.add(new Rows(end - n, end));
            }
        }
        return acting;
    }

    /** On how many of the last rows of each sequence in this call it acts. */
    private long[] acting(List<Integer> invocation) {
        KeyValueCache earlier = begins() ? null : cache;
        int[] starts = invocations.starts(invocation, earlier != null);
        long[] counts = new long[starts.length];
        for (Segment segment : segments) {
            for (int s = segment.first(); s < segment.last(); s++) {
                long before = earlier == null ? 0 : earlier.length(s) - InsertedRowsOf.count(segment);
                long behind = before + text.length(s) - starts[s];
                counts[s] = starts[s] < 0 ? 0 : Math.max(0, Math.min(text.length(s), behind));
            }
        }
        return counts;
    }

    /**
     * This call, whose sequences are of tasks of their adapters; it takes this one's place. Sequences whose adapters have no tasks
     * may say any.
     *
     * @param tasks the task of each sequence, from 0; {@link RowTasks#NONE}: the adapter's usual one
     */
    public ForwardContext withTasks(int... tasks) {
        if (tasks.length != text.sequences()) {
            throw new IllegalArgumentException(text.sequences() + " sequences need as many tasks, got " + tasks.length);
        }
        List<Segment> own = byTask(segments, tasks);
        Resolved its = own.equals(segments) ? resolved : new Resolved(own);
        return new ForwardContext(this, its, inserted, firstPositions, instructions, promptsInside, invocations);
    }

    private static List<Segment> byTask(List<Segment> segments, int @Nullable [] tasks) {
        return tasks == null
                ? segments
                : segments.stream()
                        .flatMap(segment -> segment.byTask(tasks).stream())
                        .toList();
    }

    /** Which rows of {@link #packing} belong to the texts' instructions, no inserted ones: [rows], bool, on the CPU. */
    public Tensor instruction() {
        return once(List.of(INSTRUCTION, packing), () -> {
            long[] chosen = new long[Math.toIntExact(packing.rows())];
            for (int s = 0; s < packing.sequences(); s++) {
                int begin = (int) rowOf(s, 0);
                int rows = instructions == null ? text.length(s) : instructions[s];
                Arrays.fill(chosen, begin, begin + rows, 1);
            }
            return Tensors.ofLongs(chosen, chosen.length).to(torch.ScalarType.Bool);
        });
    }

    /**
     * This call inside one block, where so many rows more stand before each sequence, which have its first positions. Belongs to
     * this one: is not closed.
     */
    public ForwardContext withPromptsInside(int... counts) {
        int[] more = inserted.clone();
        long[] earlier = firstPositions.clone();
        for (int s = 0; s < counts.length; s++) {
            more[s] += counts[s];
            earlier[s] -= counts[s];
        }
        return new ForwardContext(this, resolved, more, earlier, instructions, true, invocations);
    }

    /** Whether what goes through a block has the rows of {@link HiddenPrefix#throughTheBlock} in front already. */
    public boolean promptsInside() {
        return promptsInside;
    }

    /** How all rows lie that go through the blocks: those of the texts and those inserted before them. */
    public Packing packing() {
        return packing;
    }

    /** How the texts' own rows lie, without what adapters insert: {@link #packing} itself if they insert nothing. */
    public Packing text() {
        return text;
    }

    /** Number of rows that adapters insert before a sequence's text. */
    public int inserted(int sequence) {
        return inserted[sequence];
    }

    /** The rows before a sequence's text that count in the loss of a language model, by their places before it. */
    public List<ToldRow> told(int sequence) {
        if (inserted[sequence] == 0) {
            return List.of();
        }
        List<ToldRow> told = new ArrayList<>();
        int before = 0;
        for (Adapter adapter : segmentOf(sequence).adapters()) {
            for (ToldRow row : adapter.told()) {
                told.add(new ToldRow(before + row.row(), row.token(), row.weight()));
            }
            before += adapter.inserted();
        }
        return told;
    }

    private Segment segmentOf(int sequence) {
        return segments.stream()
                .filter(segment -> segment.first() <= sequence && sequence < segment.last())
                .findFirst()
                .orElseThrow();
    }

    /** The row, among those of {@link #packing}, that a token of a text has. */
    public long rowOf(int sequence, int token) {
        return packing.begin(sequence) + inserted[sequence] + token;
    }

    /** Whether this is the texts' first call: its rows are not behind those of earlier ones. */
    private boolean begins() {
        return cache == null || !cache.filled();
    }

    /**
     * Adds to the rows of the texts what is added to them, and puts inserted rows before them.
     *
     * @param point the model's own
     * @param textRows embedded words, [rows of text(), C]
     * @return [rows of packing(), C], of their type; textRows itself if nothing is added or inserted
     */
    public Tensor insert(SequencePoint point, Tensor textRows) {
        Claims<SequenceClaim> claims = at(point);
        Tensor words = begins() ? PositionUpdates.add(claims, textRows, text, segments) : textRows;
        return text == packing ? words : InsertedRowsOf.insert(claims, words, this, segments);
    }

    /**
     * Takes embedded rows through the {@link EmbeddedUpdate}s of the call, behind everything else that the embedding layer does.
     *
     * @param point the model's own
     * @param h [rows of packing(), C]
     * @return [rows of packing(), C], of its type; h itself if there are none
     */
    public Tensor embedded(SequencePoint point, Tensor h) {
        return EmbeddedUpdates.forward(at(point), h, this);
    }

    /**
     * Takes rows that a language head reads back, to where embedded rows were before {@link #embedded}.
     *
     * @param point the model's own
     * @param h [R, C], behind the model's last norm
     * @param rows how they lie
     * @return [R, C], of its type; h itself if nothing is claimed
     */
    public Tensor unembedded(SequencePoint point, Tensor h, Packing rows) {
        return EmbeddedUpdates.inverse(at(point), h, rows, this);
    }

    /** What the adapters of this call claim at a point; looked up once. */
    @SuppressWarnings("unchecked") // under a point are claims of its kind
    public <C> Claims<C> at(Point<C> point) {
        Claims<?> known = resolved.claims().get(point);
        if (known == null) {
            known = Claims.of(point, segments);
            resolved.claims().put(point, known);
        }
        return (Claims<C>) known;
    }

    /** What follows from the claims for a part of the model (the key), made once; it must not depend on the call's rows. */
    @SuppressWarnings("unchecked") // a key's maker makes one type
    public <T> T plan(Object key, Supplier<T> maker) {
        Object known = resolved.plans().get(key);
        if (known == null) {
            known = maker.get();
            resolved.plans().put(key, known);
        }
        return (T) known;
    }

    public boolean training() {
        return training;
    }

    public List<Segment> segments() {
        return segments;
    }

    /** Where rows of earlier calls are; null if each sequence is here as a whole. */
    public @Nullable KeyValueCache cache() {
        return cache;
    }

    /** The seed of a dropout mask: this call's, mixed with the place. */
    public long seed(String place) {
        return Seeds.mix(seed, place);
    }

    /**
     * For each row of {@link #packing} its position in the model's table: 0, 1, … behind the positions that prefixes take and
     * the rows of earlier calls.
     */
    public long[] positions() {
        long[] positions = new long[Math.toIntExact(packing.rows())];
        for (int s = 0; s < packing.sequences(); s++) {
            long first = firstPosition(s);
            for (int i = 0; i < packing.length(s); i++) {
                positions[(int) packing.begin(s) + i] = first + i;
            }
        }
        return positions;
    }

    /** The position of a sequence's first row in this call. */
    public long firstPosition(int sequence) {
        return firstPositions[sequence];
    }

    /** Positions that adapters take before each text of a segment, by prefixes and by inserted rows. */
    public static int before(Segment segment) {
        return segment.adapters().stream().mapToInt(Adapter::positions).sum();
    }

    /**
     * The pass before this call for sequences that are routed: those alone, without their adapter, or with the weights that it has for
     * this. Its dropout has masks of its own. To be closed, too.
     */
    public ForwardContext firstPass(Segment segment) {
        Routing routing = Objects.requireNonNull(segment.routing());
        if (!begins()) {
            throw new IllegalStateException(
                    "adapter '" + segment.adapters().get(0).name()
                            + "' reads texts as a whole: its rows do not go on behind those of earlier calls");
        }
        Packing own = text.slice(segment.first(), segment.last());
        Tensor weights = routing.firstPass(own.rows());
        List<Adapter> adapters = weights == null ? List.of() : segment.adapters();
        ForwardContext pass = new ForwardContext(
                own,
                List.of(new Segment(0, own.sequences(), adapters)),
                training,
                Seeds.mix(seed, "first pass " + segment.first()));
        if (weights != null) {
            pass.once(new Weighted(routing, 0), () -> weights.alias());
        }
        return pass;
    }

    /**
     * Says the weights of sequences that are routed, before they go through the blocks; asked for once a call.
     *
     * @param weights makes them, [rows of the segment, weights]
     */
    public void route(Segment segment, Supplier<Tensor> weights) {
        once(new Weighted(Objects.requireNonNull(segment.routing()), segment.first()), weights);
    }

    /**
     * The weights of rows of sequences [first, last), which are of one segment.
     *
     * @param rows which rows of each sequence are meant
     * @return [rows of these sequences, weights]
     */
    public Tensor weights(Routing routing, int first, int last, Packing rows) {
        return weights(routing, first, last, rows, 0);
    }

    /** @param before how many sequences of this call are before the first one of rows */
    private Tensor weights(Routing routing, int first, int last, Packing rows, int before) {
        if (whole != null) {
            return whole.context().weights(routing, first, last, rows, before + whole.first());
        }
        Segment segment = segmentOf(first + before);
        Shared known = made.get(new Weighted(routing, segment.first()));
        if (known == null || last + before > segment.last()) {
            throw new IllegalStateException("nobody has said the weights of sequences " + (first + before) + " to "
                    + (last + before - 1) + ": a first pass comes before the blocks");
        }
        long begin = text.begin(segment.first());
        long[] chosen = new long[Math.toIntExact(rows.end(last - 1) - rows.begin(first))];
        int n = 0;
        for (int s = first; s < last; s++) {
            long own = text.begin(s + before) - begin + rows.first(s);
            for (int i = 0; i < rows.length(s); i++) {
                chosen[n++] = own + i;
            }
        }
        return n == known.leaf.size(0)
                ? known.leaf // all of them
                : known.leaf.index_select(0, Tensors.ofLongs(Device.of(known.leaf), chosen, n));
    }

    /**
     * What a claim makes once a call, although every block asks for it (a projected prefix, for example). Blocks get a leaf of
     * autograd, whose gradient {@link #backward} hands on when all of them have added to it: so a backward may go block by
     * block.
     */
    public Tensor once(Object key, Supplier<Tensor> maker) {
        Shared known = made.get(key);
        if (known == null) {
            known = new Shared(maker, training || GradMode.is_enabled());
            made.put(key, known);
        }
        return known.leaf;
    }

    /** To be called behind the backward of the loss: hands the gradients of what was made {@link #once} on. */
    public void backward() {
        made.values().forEach(Shared::backward);
    }

    /** A value with its graph, and the leaf that blocks see. */
    private static final class Shared {
        private final Tensor value;
        private final Tensor leaf;

        /** @param trained whether it may need gradients, also where the forward around it keeps none */
        Shared(Supplier<Tensor> maker, boolean trained) {
            try (AutoGradMode grad = new AutoGradMode(trained)) {
                value = Scopes.owned(maker);
            }
            leaf = Scopes.owned(() -> value.detach());
            leaf.set_requires_grad(value.requires_grad());
        }

        void backward() {
            if (value.requires_grad() && leaf.grad().defined()) {
                value.backward(leaf.grad(), new BoolOptional(), false, new TensorArrayRefOptional());
            }
        }

        void close() {
            leaf.close();
            value.close();
        }
    }

    /**
     * Runs f on the rows of each group of neighbouring segments for which {@code key} gives the same, and puts the results
     * together; without a copy where all rows share it. What differs by adapter and cannot be told to one native call goes
     * through here.
     *
     * @param key such as {@code claims::of}
     * @param rows how x's rows lie
     */
    public Tensor bySegment(Tensor x, Packing rows, Function<Segment, ?> key, SegmentFunction f) {
        List<Segment> merged = new ArrayList<>();
        for (Segment segment : segments) {
            Segment last = merged.isEmpty() ? null : merged.get(merged.size() - 1);
            if (last != null && Objects.equals(key.apply(last), key.apply(segment))) {
                int task = last.task() == segment.task() ? last.task() : RowTasks.NONE;
                merged.set(merged.size() - 1, new Segment(last.first(), segment.last(), last.adapters(), task));
            } else {
                merged.add(segment);
            }
        }
        if (merged.size() == 1) {
            return f.apply(merged.get(0), x, 0);
        }
        TensorVector parts = new TensorVector();
        for (Segment segment : merged) {
            long begin = rows.begin(segment.first());
            long end = segment.last() == 0 ? 0 : rows.end(segment.last() - 1);
            parts.push_back(f.apply(segment, x.narrow(0, begin, Math.max(0, end - begin)), begin));
        }
        return torch.cat(parts, 0);
    }

    /** See {@link #bySegment}. */
    @FunctionalInterface
    public interface SegmentFunction {
        /** @param firstRow number of the first of these rows in the whole tensor */
        Tensor apply(Segment segment, Tensor rows, long firstRow);
    }

    @Override
    public void close() {
        made.values().forEach(Shared::close);
        made.clear();
    }
}
