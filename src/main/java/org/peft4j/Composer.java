package org.peft4j;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.io.NearestName;
import org.peft4j.lifetime.Lease;
import org.peft4j.nn.compose.Composed;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;
import org.peft4j.task.Task;
import org.peft4j.train.LoadedTask;

/** Puts adapters in the places of a {@link Composition}'s names. */
final class Composer {
    private final BaseModel base;
    private final String name;
    private final Map<String, LoadedAdapter> parts;
    private final List<String> headOf;

    Composer(BaseModel base, String name, Map<String, LoadedAdapter> parts, List<String> headOf) {
        this.base = base;
        this.name = name;
        this.parts = Map.copyOf(parts);
        this.headOf = headOf;
    }

    /**
     * A range of the tokens of every text.
     *
     * @param whole how many tokens the text has
     */
    private record Range(int begin, int size, int whole) {}

    /** What acts on the same rows, as one adapter. */
    LoadedAdapter compose(Composition composition) {
        if (composition.dividesRows()) {
            throw new ConfigException("composition " + composition
                    + " says which rows of a call an adapter has; give it to BaseModel.composeRows");
        }
        check(composition);
        for (String named : headOf) {
            if (!composition.names().contains(named)) {
                throw new ConfigException("composition " + composition + " has no '" + named
                        + "' whose head it could have" + NearestName.hint(named, composition.names()));
            }
        }
        return made(composition, name);
    }

    /** Refuses names that no adapter has, and adapters of another model. */
    void check(Composition composition) {
        for (String each : composition.names()) {
            LoadedAdapter part = parts.get(each);
            if (part == null) {
                throw new ConfigException("composition " + composition + ": no adapter is given for '" + each + "'"
                        + NearestName.hint(each, parts.keySet()));
            }
            if (part.base() != base) {
                throw new IllegalArgumentException("adapter '" + part.name() + "', '" + each + "' of composition "
                        + composition + ", is loaded on another model; load it on this one");
            }
        }
    }

    LoadedAdapter part(String part) {
        return java.util.Objects.requireNonNull(parts.get(part));
    }

    List<String> headOf() {
        return headOf;
    }

    /** @param tree without blocks that divide rows, checked */
    LoadedAdapter made(Composition tree, String called) {
        Map<String, LoadedAdapter> used = new LinkedHashMap<>();
        tree.names().forEach(each -> used.put(each, part(each)));
        Set<LoadedAdapter> distinct = new LinkedHashSet<>(used.values());
        List<Lease.Held> held = new ArrayList<>();
        try {
            distinct.forEach(part -> held.add(part.take()));
            return new LoadedAdapter(called, base, task(simple(tree), tree, called), distinct);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } finally {
            held.forEach(Lease.Held::close);
        }
    }

    /** The same without blocks of one child around the whole, which do nothing. */
    private static Composition simple(Composition tree) {
        Composition inner = tree;
        while ((inner instanceof Composition.Stack || inner instanceof Composition.Average)
                && inner.children().size() == 1) {
            inner = inner.children().get(0);
        }
        return inner;
    }

    private LoadedTask<?> task(Composition tree, Composition written, String called) throws IOException {
        if (tree instanceof Composition.Name leaf) {
            return part(leaf.name()).loaded(); // whatever it does
        }
        Adapter body = view(tree, null);
        String owner = owner(tree);
        LoadedTask<?> task = part(owner).loaded();
        Adapter whole = Composed.withHead(called, body, adapter(owner), head(task));
        List<String> notes = new ArrayList<>();
        List<String> left = tree.names().stream()
                .filter(other -> part(other) != part(owner) && changesHead(part(other)))
                .map(other -> "'" + other + "'")
                .toList();
        notes.add("composition " + written + ": task, labels and head are those of '" + owner + "'"
                + (left.isEmpty() ? "" : "; what " + String.join(", ", left) + " learned for the head is left out"));
        if (Composed.chains(whole)) {
            notes.add("composition " + written + ": where several low-rank updates stand in a Stack, the second reads"
                    + " what the first adds, and only what the last gives is added (Average adds them up)");
        }
        return task.with(base.opened(), whole, notes);
    }

    private Adapter adapter(String part) {
        Adapter adapter = part(part).loaded().adapter();
        if (adapter == null) {
            throw new ConfigException("'" + part + "' is the model itself, without an adapter, and cannot be a part of"
                    + " a composition for the same rows; a branch of a Parallel can be");
        }
        return adapter;
    }

    /** @param range that it has of every text; null: texts as a whole */
    private Adapter view(Composition of, @Nullable Range range) {
        String text = of.toString();
        if (of instanceof Composition.Name leaf) {
            return Composed.part(
                    leaf.name(), adapter(leaf.name()), head(part(leaf.name()).loaded()));
        }
        if (of instanceof Composition.Split split) {
            return split(split, range);
        }
        if (of instanceof Composition.Fuse fuse) {
            return fused(fuse);
        }
        List<Adapter> children =
                of.children().stream().map(child -> view(child, range)).toList();
        return of instanceof Composition.Average average
                ? Composed.average(text, children, average.weights())
                : Composed.stack(text, children);
    }

    private Adapter split(Composition.Split split, @Nullable Range range) {
        int sum = split.sizes().stream().mapToInt(Integer::intValue).sum();
        Range own = range == null ? new Range(0, sum, sum) : range;
        if (sum != own.size()) {
            throw new ConfigException("composition " + split + ": its sizes must sum to " + own.size()
                    + ", the size of the range that it has of a text, got " + sum);
        }
        List<Adapter> children = new ArrayList<>();
        int begin = own.begin();
        for (int i = 0; i < split.sizes().size(); i++) {
            int size = split.sizes().get(i);
            children.add(view(split.children().get(i), new Range(begin, size, own.whole())));
            begin += size;
        }
        return Composed.split(split.toString(), children, split.sizes(), own.begin(), own.whole());
    }

    /** The place where a trained fusion of these adapters is looked up. */
    private Adapter fused(Composition.Fuse fuse) {
        throw new ConfigException("composition " + fuse + ": no fusion of " + fuse.children()
                + " is loaded; Stack and Average need no trained weights");
    }

    private static Set<String> head(LoadedTask<?> task) {
        Points points = task.model().head().points();
        Set<String> paths = new LinkedHashSet<>(points.tensors().keySet());
        points.linears().forEach(point -> paths.add(point.path()));
        return paths;
    }

    /** The name of the adapter whose task and head the tree has. */
    private String owner(Composition tree) {
        List<String> chosen =
                headOf.stream().filter(tree.names()::contains).distinct().toList();
        if (chosen.size() > 1) {
            throw new ConfigException("composition " + tree + " has one head, asked for are those of " + chosen);
        }
        if (chosen.size() == 1) {
            return chosen.get(0);
        }
        List<String> owners = List.copyOf(tree.heads());
        String last = owners.get(owners.size() - 1);
        for (String other : owners) {
            if (part(other) != part(last) && differ(part(other), part(last))) {
                throw new ConfigException("composition " + tree + ": '" + other + "' and '" + last
                        + "' have tasks or heads that differ, and both are last; say whose it has (--head-of " + last
                        + ", the last argument of BaseModel.compose)");
            }
        }
        return last;
    }

    private static boolean differ(LoadedAdapter one, LoadedAdapter other) {
        Task<?> mine = one.loaded().task();
        Task<?> theirs = other.loaded().task();
        return !mine.config().type().equals(theirs.config().type())
                || mine.headKind() != theirs.headKind()
                || !mine.labels().equals(theirs.labels())
                || changesHead(one)
                || changesHead(other);
    }

    private static boolean changesHead(LoadedAdapter of) {
        Adapter adapter = of.loaded().adapter();
        return adapter != null && Composed.changes(adapter, head(of.loaded()));
    }
}
