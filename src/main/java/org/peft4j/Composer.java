package org.peft4j;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.io.NearestName;
import org.peft4j.lifetime.Lease;
import org.peft4j.nn.compose.Composed;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.SublayerFusion;
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
        return made(composition, name);
    }

    /** Refuses names that no adapter has, adapters of another model, and heads of adapters that take no part. */
    void check(Composition composition) {
        for (String each : composition.names()) {
            if (!parts.containsKey(each)) {
                throw new ConfigException("composition " + composition + ": no adapter is given for '" + each + "'"
                        + NearestName.hint(each, parts.keySet()));
            }
        }
        Set<String> used = used(composition);
        for (String each : used) {
            LoadedAdapter part = part(each);
            if (part.base() != base) {
                throw new IllegalArgumentException("adapter '" + part.name() + "', '" + each + "' of composition "
                        + composition + ", is loaded on another model; load it on this one");
            }
        }
        for (String named : headOf) {
            if (!used.contains(named)) {
                throw new ConfigException("composition " + composition + " has no '" + named
                        + "' whose head it could have" + NearestName.hint(named, used));
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
        used(tree).forEach(each -> used.put(each, part(each)));
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
        List<String> left = used(tree).stream()
                .filter(other -> part(other) != part(owner) && changesHead(part(other)))
                .map(other -> "'" + other + "'")
                .toList();
        notes.add("composition " + written + ": task, labels and head are those of '" + owner + "'"
                + (left.isEmpty() ? "" : "; what " + String.join(", ", left) + " learned for the head is left out"));
        List<String> embedded = used(tree).stream()
                .filter(other -> adapter(other).changesEmbedded())
                .filter(other -> !whole.changesEmbedded() || !other.equals(undermost(tree)))
                .map(other -> "'" + other + "'")
                .toList();
        if (!embedded.isEmpty()) {
            notes.add("composition " + written + ": the invertible adapter of " + String.join(", ", embedded)
                    + " does not act: of a Stack that of the first adapter does alone");
        }
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

    private Adapter fused(Composition.Fuse fuse) {
        String fusion = fusion(fuse);
        List<Adapter> children =
                fuse.children().stream().map(child -> view(child, null)).toList();
        return Composed.fuse(
                fuse.toString(),
                Composed.part(fusion, adapter(fusion), head(part(fusion).loaded())),
                children);
    }

    /** The name of the adapter that was trained to mix those of a Fuse: of all that were given, the one whose experts have their names. */
    private String fusion(Composition.Fuse fuse) {
        List<String> names = new ArrayList<>();
        for (Composition child : fuse.children()) {
            if (!(child instanceof Composition.Name leaf)) {
                throw new ConfigException("composition " + fuse + ": a fusion is trained over single adapters, got "
                        + child + "; put the Stack around the Fuse");
            }
            names.add(leaf.name());
        }
        Map<String, List<String>> fusions = new TreeMap<>();
        parts.forEach((each, part) -> {
            Adapter adapter = part.loaded().adapter();
            List<String> experts = adapter == null ? List.of() : SublayerFusion.namesOf(adapter);
            if (!experts.isEmpty()) {
                fusions.put(each, experts);
            }
        });
        List<String> found = fusions.keySet().stream()
                .filter(each -> names.equals(fusions.get(each)))
                .toList();
        if (found.size() == 1) {
            return found.get(0);
        }
        throw new ConfigException("composition " + fuse + ": "
                + (found.isEmpty()
                        ? "no fusion of " + names + " is given"
                                + (fusions.isEmpty() ? "" : ", there are those of " + fusions.values())
                                + "; train one (method fusion, with adapters of these names in this order) and give it"
                                + " beside them; Stack and Average need no trained weights"
                        : found + " are fusions of " + names + "; give one of them"));
    }

    /** The names of all adapters that take part: those of the tree, and the fusions of its Fuse blocks. */
    Set<String> used(Composition tree) {
        Set<String> used = new LinkedHashSet<>(tree.names());
        collectFusions(tree, used);
        return used;
    }

    private void collectFusions(Composition tree, Set<String> names) {
        if (tree instanceof Composition.Fuse fuse) {
            names.add(fusion(fuse));
        }
        tree.children().forEach(child -> collectFusions(child, names));
    }

    /** Whose head the whole may have; of a Fuse that is the fusion, which was trained with it. */
    private Set<String> heads(Composition tree) {
        if (tree instanceof Composition.Fuse fuse) {
            return Set.of(fusion(fuse));
        }
        Set<String> heads = new LinkedHashSet<>();
        List<Composition> children = tree.children();
        if (children.isEmpty()) {
            return tree.names();
        }
        (tree instanceof Composition.Stack ? children.subList(children.size() - 1, children.size()) : children)
                .forEach(child -> heads.addAll(heads(child)));
        return heads;
    }

    private static String undermost(Composition tree) {
        return tree.names().iterator().next();
    }

    private static Set<String> head(LoadedTask<?> task) {
        return task.model().head().points().places();
    }

    /** The name of the adapter whose task and head the tree has. */
    private String owner(Composition tree) {
        List<String> chosen =
                headOf.stream().filter(used(tree)::contains).distinct().toList();
        if (chosen.size() > 1) {
            throw new ConfigException("composition " + tree + " has one head, asked for are those of " + chosen);
        }
        if (chosen.size() == 1) {
            return chosen.get(0);
        }
        List<String> owners = List.copyOf(heads(tree));
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
