package org.peft4j;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.lifetime.Lease;

/**
 * Adapters that share a call's rows ({@link BaseModel#composeRows}): branches, each of which answers every row, and in a branch ranges
 * of rows that have adapters of their own. A composition without {@link Composition.Parallel} is one branch, one without {@link
 * Composition.BatchSplit} takes any number of rows. Safe from many threads. It owns no adapter and ends with any of them.
 */
public final class RowComposition implements AutoCloseable {
    /**
     * Neighbouring rows of one adapter.
     *
     * @param rows how many; 0: all, of any number
     */
    private record Range(LoadedAdapter adapter, int rows) {}

    /** @param name the branch as text, which begins the names of its columns on the command line: {@code a.label} */
    private record Branch(String name, List<Range> ranges) {
        int rows() {
            return ranges.stream().mapToInt(Range::rows).sum();
        }

        LoadedAdapter of(long row) {
            long end = 0;
            for (Range range : ranges) {
                end += range.rows();
                if (range.rows() == 0 || row < end) {
                    return range.adapter();
                }
            }
            throw new IllegalArgumentException("row " + row + " of " + end);
        }
    }

    private final BaseModel base;
    private final String name;
    private final Composition composition;
    private final List<Branch> branches;
    private final List<LoadedAdapter> made;
    private final Lease lease;

    private RowComposition(
            BaseModel base, String name, Composition composition, List<Branch> branches, List<LoadedAdapter> made) {
        this.base = base;
        this.name = name;
        this.composition = composition;
        this.branches = branches;
        this.made = made;
        lease = new Lease("composition '" + name + "'", () -> made.forEach(LoadedAdapter::close));
    }

    static RowComposition of(
            BaseModel base, String name, Composition composition, Composer composer, Consumer<LoadedAdapter> made) {
        composer.check(composition);
        Map<Composition, LoadedAdapter> byTree = new LinkedHashMap<>();
        List<LoadedAdapter> own = new ArrayList<>();
        List<Branch> branches = new ArrayList<>();
        int count = branches(composition, composition);
        for (int i = 0; i < Math.max(1, count); i++) {
            Composition branch = count == 0 ? composition : branch(composition, i);
            int rows = rows(branch);
            TreeSet<Integer> begins = new TreeSet<>(List.of(0));
            begins(branch, 0, rows, begins);
            begins.remove(rows);
            List<Range> ranges = new ArrayList<>();
            for (int begin : rows == 0 ? new TreeSet<>(List.of(0)) : begins) {
                Composition tree = ofRow(branch, begin, rows);
                LoadedAdapter adapter = byTree.computeIfAbsent(tree, each -> {
                    if (each instanceof Composition.Name leaf) {
                        return composer.part(leaf.name());
                    }
                    LoadedAdapter composed = composer.made(each, each.toString());
                    own.add(composed);
                    return composed;
                });
                Integer end = begins.higher(begin);
                ranges.add(new Range(adapter, rows == 0 ? 0 : (end == null ? rows : end) - begin));
            }
            branches.add(new Branch(branchName(composition, branch, i), List.copyOf(ranges)));
        }
        own.forEach(made);
        return new RowComposition(base, name, composition, List.copyOf(branches), List.copyOf(own));
    }

    /** Of a Parallel around all the child as it was written, else the whole. */
    private static String branchName(Composition whole, Composition branch, int number) {
        return whole instanceof Composition.Parallel
                ? whole.children().get(number) instanceof Composition.Name leaf
                        ? leaf.name()
                        : whole.children().get(number).toString()
                : branch.toString();
    }

    /** How many branches there are; 0 without a Parallel. */
    private static int branches(Composition of, Composition whole) {
        int own = of instanceof Composition.Parallel ? of.children().size() : 0;
        for (Composition child : of.children()) {
            int inner = branches(child, whole);
            if (own > 0 && inner > 0 && own != inner) {
                throw new ConfigException(
                        "composition " + whole + ": its Parallels must have as many branches each, got " + own + " and "
                                + inner + "; the first of one goes with the first of the other");
            }
            own = Math.max(own, inner);
        }
        return own;
    }

    private static Composition branch(Composition of, int number) {
        return of instanceof Composition.Parallel
                ? of.children().get(number)
                : withChildren(
                        of,
                        of.children().stream()
                                .map(child -> branch(child, number))
                                .toList());
    }

    private static Composition withChildren(Composition of, List<Composition> children) {
        if (children.equals(of.children())) {
            return of;
        }
        try {
            if (of instanceof Composition.Stack) {
                return new Composition.Stack(flat(children));
            }
            if (of instanceof Composition.Fuse) {
                return new Composition.Fuse(children);
            }
            if (of instanceof Composition.Split split) {
                return new Composition.Split(children, split.sizes());
            }
            return new Composition.Average(children, ((Composition.Average) of).weights());
        } catch (IllegalArgumentException e) { // a child's child that the block cannot have
            throw new ConfigException("composition " + of + ": " + e.getMessage(), e);
        }
    }

    /** A Stack in a Stack, which a branch of a Parallel brings, is its children. */
    private static List<Composition> flat(List<Composition> children) {
        return children.stream()
                .flatMap(child -> child instanceof Composition.Stack
                        ? child.children().stream()
                        : java.util.stream.Stream.of(child))
                .toList();
    }

    /** How many rows a call has; 0: any number. */
    private static int rows(Composition of) {
        if (of instanceof Composition.BatchSplit split) {
            return split.sizes().stream().mapToInt(Integer::intValue).sum();
        }
        return of.children().stream().mapToInt(RowComposition::rows).max().orElse(0);
    }

    /** @param count how many rows there are from {@code first} on */
    private static void begins(Composition of, int first, int count, Set<Integer> begins) {
        if (of instanceof Composition.BatchSplit split) {
            int begin = first;
            for (int i = 0; i < split.sizes().size(); i++) {
                begins.add(begin);
                begins(split.children().get(i), begin, split.sizes().get(i), begins);
                begin += split.sizes().get(i);
            }
        } else {
            of.children().forEach(child -> begins(child, first, count, begins));
        }
    }

    /** What a row has. */
    private static Composition ofRow(Composition of, int row, int count) {
        if (of instanceof Composition.BatchSplit split) {
            int sum = rows(split);
            if (sum != count) {
                throw new ConfigException("composition " + split + ": its sizes must sum to " + count
                        + ", the rows that it has, got " + sum);
            }
            int begin = 0;
            for (int i = 0; ; i++) {
                int size = split.sizes().get(i);
                if (row < begin + size) {
                    return ofRow(split.children().get(i), row - begin, size);
                }
                begin += size;
            }
        }
        return withChildren(
                of,
                of.children().stream().map(child -> ofRow(child, row, count)).toList());
    }

    /** The branches as text, in order: of a {@link Composition.Parallel} its children, else the composition itself. */
    public List<String> branches() {
        return branches.stream().map(Branch::name).toList();
    }

    /** How many rows a call must have, the sum of the sizes of a {@link Composition.BatchSplit}; 0: any number. */
    public int rows() {
        return branches.stream().mapToInt(Branch::rows).max().orElse(0);
    }

    /** The adapters of a branch, in the order of their rows; one where all rows have it. */
    public List<LoadedAdapter> adapters(int branch) {
        return branches.get(branch).ranges().stream().map(Range::adapter).toList();
    }

    /**
     * For each row of a call its adapter in a branch, as {@link TextClassifier#predict(List, List)}, {@link TextGenerator} and requests
     * take them.
     *
     * @param branch number of the branch, from 0
     * @param rows how many rows the call has
     * @throws ConfigException if it is for another number of rows
     */
    public List<LoadedAdapter> adapters(int branch, int rows) {
        Objects.checkIndex(branch, branches.size());
        checkRows(rows);
        return IntStream.range(0, rows)
                .mapToObj(row -> branches.get(branch).of(row))
                .toList();
    }

    private void checkRows(long rows) {
        for (Branch branch : branches) {
            if (branch.rows() > 0 && branch.rows() != rows) {
                throw new ConfigException("composition " + composition + " is for " + branch.rows()
                        + " rows, the sum of BatchSplit's sizes, got " + rows);
            }
        }
    }

    /**
     * What is said of some rows, all branches in one pass over the model.
     *
     * @param rows the columns that the tasks read; all branches read the same
     * @return for each branch, in their order, the columns that {@code peft4j predict} adds to each row
     */
    public List<List<Map<String, @Nullable Object>>> answer(
            List<? extends Map<String, ? extends @Nullable Object>> rows) {
        checkRows(rows.size());
        List<Row> read = new ArrayList<>();
        try (RowReader reader = RowReader.of(rows.stream())) {
            for (Row row = reader.next(); row != null; row = reader.next()) {
                read.add(row);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        List<List<Map<String, @Nullable Object>>> answers = new ArrayList<>();
        for (List<BaseModel.Answer> branch : answers(read, 0, i -> "row " + (i + 1) + " of " + rows.size())) {
            answers.add(branch.stream().map(BaseModel.Answer::columns).toList());
        }
        return answers;
    }

    private List<List<BaseModel.Answer>> answers(List<Row> rows, long before, IntFunction<String> where) {
        List<LoadedAdapter> adapterOf = new ArrayList<>();
        List<Row> all = new ArrayList<>();
        for (Branch branch : branches) {
            for (int i = 0; i < rows.size(); i++) {
                adapterOf.add(branch.of(before + i));
                all.add(rows.get(i));
            }
        }
        try (Lease.Held held = lease.take()) {
            List<BaseModel.Answer> answers = base.answer(adapterOf, all, i -> where.apply(i % rows.size()));
            return IntStream.range(0, branches.size())
                    .mapToObj(b -> answers.subList(b * rows.size(), (b + 1) * rows.size()))
                    .toList();
        }
    }

    /** Hears of rows with what each branch says of them. */
    @FunctionalInterface
    public interface Receiver {
        /**
         * @param row the row's own columns
         * @param columns for each branch, in their order, those to be added
         * @param cut whether the row was longer than a branch's limit of tokens
         */
        void accept(Map<String, @Nullable Object> row, List<Map<String, @Nullable Object>> columns, boolean cut);
    }

    /**
     * What is said of the rows of a file (JSONL, CSV, TSV, CoNLL; {@code -} is standard input), batch by batch, in order. The rows of
     * a {@link Composition.BatchSplit} are those of the whole file.
     *
     * @param batchSize rows that each branch puts through the model at once
     * @throws ConfigException if the file has another number of rows than the composition is for; some have been answered then
     */
    public void answer(Path data, int batchSize, Receiver receiver) throws IOException {
        if (batchSize < 1) {
            throw new IllegalArgumentException("batchSize must be at least 1, got " + batchSize);
        }
        List<String> columns = branches.get(0).of(0).loaded().task().columns();
        try (RowReader reader = RowReader.open(data, columns)) {
            long before = 0;
            List<Row> rows = new ArrayList<>();
            Row row = reader.next();
            while (row != null) {
                rows.add(row);
                row = reader.next();
                if (rows() > 0 && before + rows.size() + (row == null ? 0 : 1) > rows()) {
                    throw new ConfigException("composition " + composition + " is for " + rows()
                            + " rows, the sum of BatchSplit's sizes, but " + data + " has more");
                }
                if (row == null || rows.size() == batchSize) {
                    tell(rows, before, receiver);
                    before += rows.size();
                    rows.clear();
                }
            }
            checkRows(before);
        }
    }

    private void tell(List<Row> rows, long before, Receiver receiver) {
        List<Row> kept = List.copyOf(rows);
        List<List<BaseModel.Answer>> answers =
                answers(kept, before, i -> kept.get(i).where());
        for (int i = 0; i < kept.size(); i++) {
            int number = i;
            receiver.accept(
                    kept.get(i).fields(),
                    answers.stream().map(branch -> branch.get(number).columns()).toList(),
                    answers.stream().anyMatch(branch -> branch.get(number).cut()));
        }
    }

    /** What a user should know about what was put together. */
    public List<String> notes() {
        return made.stream()
                .flatMap(adapter -> adapter.notes().stream())
                .distinct()
                .toList();
    }

    /** Ends it, once no call uses it; its adapters stay. Closing twice does nothing. */
    @Override
    public void close() {
        lease.close();
    }

    @Override
    public String toString() {
        return "RowComposition[" + name + ", " + composition + "]";
    }
}
