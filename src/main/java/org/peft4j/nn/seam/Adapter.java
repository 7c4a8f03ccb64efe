package org.peft4j.nn.seam;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.Scopes;
import org.peft4j.ops.Device;

/**
 * A method attached to a model under a name: its parameters, and what happens at each point it claims. Immutable but for
 * the parameters' values; the model does not know of it, {@link ForwardContext} says where it applies.
 *
 * <p>Owns the parameters: after {@link #close} it must not be used in a forward. Closing twice does nothing.
 */
public final class Adapter implements AutoCloseable {
    private final String name;
    private final int positions;
    private final int tasks;
    private final int usualTask;
    private final boolean readsAllRows;
    private final int textLength;
    private final @Nullable SecondLevel secondLevel;
    private final @Nullable Routing routing;
    private final Map<Place, Claimed<?>> claims;
    private final Map<String, Parameter> parameters;
    private final Map<String, Constant> constants;
    private final List<StepHook> hooks;
    private final Adapter aboveOthers;
    private boolean closed;

    /**
     * Parameters that are trained apart from the others: on rows of their own, by an optimiser of their own, behind each step of the
     * others.
     *
     * @param group theirs
     * @param share of the rows, above 0 and below 1
     */
    public record SecondLevel(String group, double share) {}

    /** Points of different models are the same place if they are of one kind and path. */
    private record Place(Class<?> kind, String path) {
        static Place of(Point<?> point) {
            return new Place(point.getClass(), point.path());
        }
    }

    /**
     * A tensor that is not trained.
     *
     * @param saved whether the adapter's file has it
     */
    public record Constant(Tensor value, boolean saved) {}

    /** A point and what this adapter claims there. */
    private record Claimed<C>(Point<C> point, List<C> claims) {
        @SuppressWarnings("unchecked") // some of its own
        Claimed<C> with(List<?> some) {
            return new Claimed<>(point, List.copyOf((List<C>) some));
        }
    }

    private Adapter(Builder builder) {
        name = builder.name;
        secondLevel = builder.secondLevel;
        routing = builder.routing;
        claims = Collections.unmodifiableMap(builder.claims);
        parameters = Collections.unmodifiableMap(builder.parameters);
        constants = Collections.unmodifiableMap(builder.constants);
        hooks = List.copyOf(builder.hooks);
        positions = builder.positions + inserted();
        tasks = builder.tasks;
        usualTask = builder.usualTask;
        readsAllRows = builder.readsAllRows;
        textLength = builder.textLength;
        aboveOthers = changesEmbedded() ? new Adapter(this, withoutEmbedded(claims), parameters) : this;
    }

    /** The same with some of its claims and parameters. */
    private Adapter(Adapter of, Map<Place, Claimed<?>> claims, Map<String, Parameter> parameters) {
        name = of.name;
        secondLevel = of.secondLevel;
        routing = of.routing;
        this.claims = Collections.unmodifiableMap(claims);
        this.parameters = Collections.unmodifiableMap(parameters);
        constants = of.constants;
        hooks = of.hooks;
        positions = of.positions;
        tasks = of.tasks;
        usualTask = of.usualTask;
        readsAllRows = of.readsAllRows;
        textLength = of.textLength;
        aboveOthers = changesEmbedded() ? new Adapter(this, withoutEmbedded(claims), parameters) : this;
    }

    private static Map<Place, Claimed<?>> withoutEmbedded(Map<Place, Claimed<?>> claims) {
        Map<Place, Claimed<?>> kept = new LinkedHashMap<>();
        claims.forEach((place, claimed) -> {
            List<?> others = claimed.claims().stream()
                    .filter(claim -> !(claim instanceof EmbeddedUpdate))
                    .toList();
            if (others.size() == claimed.claims().size()) {
                kept.put(place, claimed);
            } else if (!others.isEmpty()) {
                kept.put(place, claimed.with(others));
            }
        });
        return kept;
    }

    /**
     * Adapters as they act in a stack, the first one undermost: each as it is, but only the first does something to embedded rows
     * ({@link EmbeddedUpdate}). What stands for another one shares its tensors, is the same object in each stack, and belongs to it: it
     * is not closed.
     */
    public static List<Adapter> stack(List<Adapter> adapters) {
        List<Adapter> stack = new ArrayList<>(adapters);
        for (int i = 1; i < stack.size(); i++) {
            stack.set(i, stack.get(i).aboveOthers);
        }
        return List.copyOf(stack);
    }

    /** Whether it does something to embedded rows that a language head takes back. */
    public boolean changesEmbedded() {
        return sequence(EmbeddedUpdate.class).findAny().isPresent();
    }

    /**
     * The same at some points alone; it takes this one's place, which must not be used any more. Parameters that stood in the place of
     * tensors elsewhere are freed.
     *
     * @param kept whether it acts at a point
     */
    public Adapter only(Predicate<Point<?>> kept) {
        Map<Place, Claimed<?>> own = new LinkedHashMap<>();
        List<Parameter> dropped = new ArrayList<>();
        claims.forEach((place, claimed) -> {
            if (kept.test(claimed.point())) {
                own.put(place, claimed);
            } else if (claimed.point() instanceof TensorPoint) {
                claimed.claims().forEach(claim -> dropped.add((Parameter) claim));
            }
        });
        own.values().forEach(claimed -> dropped.removeAll(claimed.claims())); // one may stand in the place of two
        Map<String, Parameter> others = new LinkedHashMap<>(parameters);
        others.values().removeAll(dropped);
        Adapter part = new Adapter(this, own, others);
        dropped.forEach(Parameter::close);
        closed = true; // the rest is the other one's now
        return part;
    }

    /** @param device of the model: the parameters will be there */
    public static Builder builder(String name, Device device) {
        return new Builder(name, device);
    }

    public String name() {
        return name;
    }

    /** What is trained, by path, in the order of the model. */
    public Map<String, Parameter> parameters() {
        return parameters;
    }

    /** What the adapter has besides, and does not train: projections that layers share, indexes. */
    public Map<String, Constant> constants() {
        return constants;
    }

    /** What is trained apart from the rest; null: everything is trained together. */
    public @Nullable SecondLevel secondLevel() {
        return secondLevel;
    }

    /** What it asks of each step that trains it, in order. */
    public List<StepHook> hooks() {
        return hooks;
    }

    /** What weighs its updates for each row, in a pass before each call; null: nothing does. */
    public @Nullable Routing routing() {
        return routing;
    }

    /** How many tasks it has, of which each row is of one ({@link ForwardContext#withTasks}); 0: it knows none. */
    public int tasks() {
        return tasks;
    }

    /** The task of rows that say none; {@link RowTasks#NONE}: each has to say it. */
    public int usualTask() {
        return usualTask;
    }

    /** Whether its claims need every row of their sequences, in each block, also where only some are read behind it. */
    public boolean readsAllRows() {
        return readsAllRows;
    }

    /** How many tokens each text must have, because its claims act on ranges of whole texts; 0: any number. */
    public int textLength() {
        return textLength;
    }

    /** Number of trained elements. */
    public long elements() {
        return parameters.values().stream().mapToLong(Parameter::elements).sum();
    }

    /** Positions that the method takes before the text's first one, those of inserted rows among them. */
    public int positions() {
        return positions;
    }

    /** Rows that are inserted before a text. */
    public int inserted() {
        return sequence(InsertedRows.class).mapToInt(InsertedRows::count).sum();
    }

    /** Those of the inserted rows that count in the loss of a language model, by their places among all that are inserted. */
    public List<ToldRow> told() {
        List<ToldRow> told = new ArrayList<>();
        int before = 0;
        for (InsertedRows rows : sequence(InsertedRows.class).toList()) {
            for (ToldRow row : rows.told()) {
                told.add(new ToldRow(before + row.row(), row.token(), row.weight()));
            }
            before += rows.count();
        }
        return told;
    }

    /** The most tokens that a text may have: as many as there are rows that are added to it; else more than any has. */
    public int longestText() {
        return sequence(PositionUpdate.class)
                .mapToInt(PositionUpdate::longest)
                .min()
                .orElse(Integer.MAX_VALUE);
    }

    private <C extends SequenceClaim> Stream<C> sequence(Class<C> kind) {
        return claims(SequencePoint.class).values().stream()
                .flatMap(List::stream)
                .filter(kind::isInstance)
                .map(kind::cast);
    }

    /** Keys that stand before each sequence's own in a cache, the same number at every block. */
    public int prefix() {
        return keyValueClaims()
                .filter(KeyValueClaim::cached)
                .mapToInt(KeyValueClaim::count)
                .max()
                .orElse(0);
    }

    /** Whether those keys are the same for every sequence. */
    public boolean sharesPrefix() {
        return keyValueClaims().allMatch(KeyValueClaim::shared);
    }

    private Stream<KeyValueClaim> keyValueClaims() {
        return claims(KeyValuePoint.class).values().stream().flatMap(List::stream);
    }

    /** What this adapter claims at a point, in the order of claiming. */
    @SuppressWarnings("unchecked") // Builder.claim puts claims of the point's own kind under it
    public <C> List<C> at(Point<C> point) {
        Claimed<?> found = claims.get(Place.of(point));
        return found == null ? List.of() : (List<C>) found.claims();
    }

    /** Every claimed point of a kind and its claims, in the order of claiming. */
    public <C, P extends Point<C>> Map<P, List<C>> claims(Class<P> kind) {
        Map<P, List<C>> found = new LinkedHashMap<>();
        for (Claimed<?> claimed : claims.values()) {
            if (kind.isInstance(claimed.point())) {
                P point = kind.cast(claimed.point());
                found.put(point, at(point));
            }
        }
        return found;
    }

    /** The kinds of points that it claims, each with the path of the first. */
    public Map<Class<?>, String> claimed() {
        Map<Class<?>, String> kinds = new LinkedHashMap<>();
        claims.keySet().forEach(place -> kinds.putIfAbsent(place.kind(), place.path()));
        return kinds;
    }

    /** Its low-rank updates of linear layers. */
    public List<LowRank> lowRanks() {
        return claims(LinearPoint.class).values().stream()
                .flatMap(List::stream)
                .filter(LowRank.class::isInstance)
                .map(LowRank.class::cast)
                .toList();
    }

    /** The tokens from which on it acts in a text, of each of its updates that waits for some ({@link LowRank#invocation}). */
    public Set<List<Integer>> invocations() {
        return lowRanks().stream()
                .map(LowRank::invocation)
                .filter(tokens -> !tokens.isEmpty())
                .collect(Collectors.toUnmodifiableSet());
    }

    /** The parameters that stand in place of frozen tensors, by the tensors' paths. */
    public Map<String, Parameter> replacements() {
        Map<String, Parameter> found = new LinkedHashMap<>();
        claims(TensorPoint.class).forEach((point, parameters) -> found.put(point.path(), parameters.get(0)));
        return found;
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            hooks.forEach(StepHook::close);
            parameters.values().forEach(Parameter::close);
            constants.values().forEach(constant -> constant.value().close());
            if (routing != null) {
                routing.close();
            }
        }
    }

    @Override
    public String toString() {
        return "Adapter[" + name + ", " + elements() + " elements in " + parameters.size() + " tensors]";
    }

    /** Collects a method's claims. */
    public static final class Builder {
        private final String name;
        private final Device device;
        private int positions;
        private int tasks;
        private int usualTask = RowTasks.NONE;
        private boolean readsAllRows;
        private int textLength;
        private @Nullable SecondLevel secondLevel;
        private @Nullable Routing routing;
        private final Map<Place, Claimed<?>> claims = new LinkedHashMap<>();
        private final Map<String, Parameter> parameters = new LinkedHashMap<>();
        private final Map<String, Constant> constants = new LinkedHashMap<>();
        private final List<StepHook> hooks = new ArrayList<>();

        private Builder(String name, Device device) {
            if (name.isBlank()) {
                throw new IllegalArgumentException("an adapter needs a name");
            }
            this.name = name;
            this.device = device;
        }

        public Builder parameter(Parameter parameter) {
            parameter.moveTo(device);
            if (parameters.putIfAbsent(parameter.path(), parameter) != null) {
                throw new IllegalStateException("an adapter has each parameter once: " + parameter.path());
            }
            return this;
        }

        /**
         * Adds a tensor that is not trained, on the model's device; it belongs to the adapter.
         *
         * @param values makes it, on the CPU
         * @param saved whether the adapter's file has it
         */
        public Tensor constant(String path, Supplier<Tensor> values, boolean saved) {
            Constant constant = new Constant(
                    Scopes.owned(() -> device.move(values.get().detach()).clone()), saved);
            if (constants.putIfAbsent(path, constant) != null) {
                constant.value().close();
                throw new IllegalStateException("an adapter has each tensor once: " + path);
            }
            return constant.value();
        }

        /** Asks something of each step that trains the adapter; the hook belongs to it. */
        public Builder hook(StepHook hook) {
            hooks.add(hook);
            return this;
        }

        /** What is trained so far, by path. */
        public Map<String, Parameter> parameters() {
            return Collections.unmodifiableMap(parameters);
        }

        /** Frees what was added, if {@link #build} is not reached. */
        public void discard() {
            hooks.forEach(StepHook::close);
            parameters.values().forEach(Parameter::close);
            constants.values().forEach(constant -> constant.value().close());
            if (routing != null) {
                routing.close();
            }
        }

        /** A point may have several claims, as far as they can hold together; {@link #build} says if they cannot. */
        public <C> Builder claim(Point<C> point, C claim) {
            add(point, claim);
            return this;
        }

        /** The parameter takes the tensor's place; it is added to the parameters too. */
        public Builder claim(TensorPoint point, Parameter parameter) {
            add(point, parameter);
            return parameter(parameter);
        }

        /** A claim whose parameters belong to another adapter, which has to live as long as this one: they are neither closed nor trained here. */
        public <C> Builder borrow(Point<C> point, C claim) {
            add(point, claim);
            return this;
        }

        @SuppressWarnings("unchecked") // the list under a point has claims of its kind
        private <C> void add(Point<C> point, C claim) {
            Claimed<?> claimed =
                    claims.computeIfAbsent(Place.of(point), place -> new Claimed<>(point, new ArrayList<>()));
            ((List<C>) claimed.claims()).add(claim);
        }

        /** Positions that the method takes beside inserted rows: those of a prefix. */
        public Builder positions(int value) {
            positions = value;
            return this;
        }

        /**
         * Rows are of tasks.
         *
         * @param count how many tasks there are
         * @param usual the task of rows that say none; {@link RowTasks#NONE}: each has to say it
         */
        public Builder tasks(int count, int usual) {
            tasks = count;
            usualTask = usual;
            return this;
        }

        /**
         * Its claims need every row of their sequences: a mean over them, for instance. The last block, which else computes only rows
         * that somebody reads, computes all of them then.
         */
        public Builder readsAllRows() {
            readsAllRows = true;
            return this;
        }

        /** Each text must have so many tokens: its claims act on ranges of whole texts. */
        public Builder textLength(int tokens) {
            textLength = tokens;
            return this;
        }

        /** What is trained apart from the rest. */
        public Builder secondLevel(SecondLevel value) {
            secondLevel = value;
            return this;
        }

        /** What weighs the adapter's updates; it belongs to the adapter. */
        public Builder routing(Routing value) {
            routing = value;
            return this;
        }

        /** Whether the point is claimed already. */
        public boolean claims(Point<?> point) {
            return claims.containsKey(Place.of(point));
        }

        /** @throws org.peft4j.error.ConfigException if two claims cannot hold together; the parameters are closed then */
        public Adapter build() {
            Adapter adapter = new Adapter(this);
            try {
                Conflicts.check(adapter);
            } catch (RuntimeException e) {
                adapter.close();
                throw e;
            }
            return adapter;
        }
    }
}
