package org.peft4j;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * How adapters act together in a call: a tree of blocks over adapters' names, as AdapterHub's {@code adapters} library has them.
 * {@link BaseModel#compose} and {@link BaseModel#composeRows} put adapters in the names' places. Immutable; equal trees are equal.
 *
 * <p>As text, which {@link #parse} reads and {@code toString} writes: {@code Stack(lang, task)}, {@code Average(a, b; 0.3, 0.7)},
 * {@code Split(a, b; 64, 64)}. A name that has other characters than letters, digits and {@code _ - .} stands in quotes.
 */
public sealed interface Composition {
    /** An adapter by itself. */
    record Name(String name) implements Composition {
        public Name {
            if (name.isBlank()) {
                throw new IllegalArgumentException("a composition needs names of adapters, got a blank one");
            }
        }

        @Override
        public List<Composition> children() {
            return List.of();
        }

        @Override
        public String toString() {
            return CompositionText.name(name);
        }
    }

    /**
     * One behind the other (MAD-X, 2005.00052: language, then task): at a sublayer each bottleneck adapter reads what the one before it
     * made. An adapter that does nothing at a place is skipped there. Of LoRAs the second reads what the first would add, and <b>only
     * what the last gives is added</b>, as in {@code adapters}; that takes layers of as many outputs as inputs. To add several up, take
     * {@link Average}. Task, head and labels are those of the last.
     */
    record Stack(List<Composition> children) implements Composition {
        public Stack {
            children = CompositionRules.children("Stack", children);
        }

        @Override
        public String toString() {
            return CompositionText.block("Stack", children, List.of());
        }
    }

    /**
     * AdapterFusion (2005.00247): attention over what the children give at each place, with weights that were trained for them: those of
     * an adapter of the method {@code fusion} that is given beside them, whose experts have their names in this order. Task and head are
     * the fusion's.
     */
    record Fuse(List<Composition> children) implements Composition {
        public Fuse {
            children = CompositionRules.children("Fuse", children);
        }

        @Override
        public String toString() {
            return CompositionText.block("Fuse", children, List.of());
        }
    }

    /**
     * Each child has a range of the tokens of every text: bottleneck adapters only.
     *
     * @param sizes of the ranges, in order; their sum is the number of tokens of each text, special ones included
     */
    record Split(List<Composition> children, List<Integer> sizes) implements Composition {
        public Split {
            children = CompositionRules.children("Split", children);
            sizes = CompositionRules.sizes("Split", children, sizes);
        }

        @Override
        public String toString() {
            return CompositionText.block("Split", children, sizes);
        }
    }

    /**
     * Each child has some of a call's rows.
     *
     * @param sizes how many rows each has, in order; their sum is the number of rows of the call
     */
    record BatchSplit(List<Composition> children, List<Integer> sizes) implements Composition {
        public BatchSplit {
            children = CompositionRules.children("BatchSplit", children);
            sizes = CompositionRules.sizes("BatchSplit", children, sizes);
        }

        @Override
        public String toString() {
            return CompositionText.block("BatchSplit", children, sizes);
        }
    }

    /**
     * The weighted mean of what the children do at each place; one that does nothing there counts as doing nothing. The
     * {@code adapters} library divides it by the number of children once more; that is not done here.
     *
     * @param weights one for each child, above 0; scaled so that their sum is 1
     */
    record Average(List<Composition> children, List<Double> weights) implements Composition {
        public Average {
            children = CompositionRules.children("Average", children);
            weights = CompositionRules.weights(children, weights);
        }

        @Override
        public String toString() {
            boolean usual = weights.stream().allMatch(weight -> weight == 1.0 / weights.size());
            return CompositionText.block("Average", children, usual ? List.of() : weights);
        }
    }

    /** Every row is answered by each child, which is a branch with a head of its own. */
    record Parallel(List<Composition> children) implements Composition {
        public Parallel {
            children = CompositionRules.children("Parallel", children);
            CompositionRules.checkBranches(children);
        }

        @Override
        public String toString() {
            return CompositionText.block("Parallel", children, List.of());
        }
    }

    /** The parts of a block, in order; none of a name. */
    List<Composition> children();

    /** An adapter by its name. */
    static Composition of(String name) {
        return new Name(Objects.requireNonNull(name, "name"));
    }

    /** See {@link Stack}. */
    static Composition stack(Composition... children) {
        return new Stack(List.of(children));
    }

    /** See {@link Stack}. */
    static Composition stack(String... names) {
        return new Stack(names(names));
    }

    /** See {@link Fuse}. */
    static Composition fuse(Composition... children) {
        return new Fuse(List.of(children));
    }

    /** See {@link Fuse}. */
    static Composition fuse(String... names) {
        return new Fuse(names(names));
    }

    /** See {@link Split}. */
    static Composition split(List<Integer> sizes, Composition... children) {
        return new Split(List.of(children), sizes);
    }

    /** See {@link Split}. */
    static Composition split(List<Integer> sizes, String... names) {
        return new Split(names(names), sizes);
    }

    /** See {@link BatchSplit}. */
    static Composition batchSplit(List<Integer> sizes, Composition... children) {
        return new BatchSplit(List.of(children), sizes);
    }

    /** See {@link BatchSplit}. */
    static Composition batchSplit(List<Integer> sizes, String... names) {
        return new BatchSplit(names(names), sizes);
    }

    /** See {@link Average}: all of one weight. */
    static Composition average(Composition... children) {
        return average(Collections.nCopies(children.length, 1.0), children);
    }

    /** See {@link Average}: all of one weight. */
    static Composition average(String... names) {
        return average(names(names).toArray(Composition[]::new));
    }

    /** See {@link Average}. */
    static Composition average(List<Double> weights, Composition... children) {
        return new Average(List.of(children), weights);
    }

    /** See {@link Average}. */
    static Composition average(List<Double> weights, String... names) {
        return new Average(names(names), weights);
    }

    /** See {@link Parallel}. */
    static Composition parallel(Composition... children) {
        return new Parallel(List.of(children));
    }

    /** See {@link Parallel}. */
    static Composition parallel(String... names) {
        return new Parallel(names(names));
    }

    private static List<Composition> names(String... names) {
        List<Composition> children = new ArrayList<>();
        for (String name : names) {
            children.add(of(name));
        }
        return children;
    }

    /**
     * Reads a tree that is written as text. After the children's list stands, behind a semicolon, what the block needs besides: sizes
     * of Split and BatchSplit (one number counts for each child), weights of Average.
     *
     * @throws org.peft4j.error.ConfigException naming the place, if it is none
     */
    static Composition parse(String text) {
        return CompositionText.parse(text);
    }

    /**
     * Reads a tree from AdapterHub's {@code adapter_setup.json}: {@code {"type", "children", "kwargs"}}, alone or under {@code
     * "adapter_setup"}.
     *
     * @throws org.peft4j.error.ConfigException naming what is wrong, if it is none
     */
    static Composition ofSetup(Map<String, ? extends @Nullable Object> setup) {
        return CompositionSetup.read(setup);
    }

    /** As {@link #ofSetup(Map)}, of JSON as text. */
    static Composition ofSetupJson(String json) {
        return CompositionSetup.read(json);
    }

    /** This as AdapterHub's library writes it, {@code {"type", "children", "kwargs"}}; a name alone is a Stack of it there. */
    default Map<String, Object> setup() {
        return CompositionSetup.write(this);
    }

    /** The names of all adapters in it, each once, in order. */
    default Set<String> names() {
        Set<String> names = new LinkedHashSet<>();
        if (this instanceof Name leaf) {
            names.add(leaf.name());
        }
        children().forEach(child -> names.addAll(child.names()));
        return names;
    }

    /** The names of the adapters that are last: one of them gives each row its task, head and labels. */
    default Set<String> heads() {
        if (children().isEmpty()) {
            return names();
        }
        Set<String> heads = new LinkedHashSet<>();
        (this instanceof Stack
                        ? children().subList(children().size() - 1, children().size())
                        : children())
                .forEach(child -> heads.addAll(child.heads()));
        return heads;
    }

    /** Whether there is a {@link Fuse} in it, which needs a fusion beside the adapters that it names. */
    default boolean fuses() {
        return this instanceof Fuse || children().stream().anyMatch(Composition::fuses);
    }

    /** Whether it says which rows of a call an adapter has ({@link Parallel}, {@link BatchSplit}): for {@link BaseModel#composeRows}. */
    default boolean dividesRows() {
        return this instanceof Parallel
                || this instanceof BatchSplit
                || children().stream().anyMatch(Composition::dividesRows);
    }
}
