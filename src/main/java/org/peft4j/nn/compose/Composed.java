package org.peft4j.nn.compose;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Function;
import org.peft4j.error.ConfigException;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.BiasDelta;
import org.peft4j.nn.seam.EmbeddingClaim;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.EmbeddingUpdate;
import org.peft4j.nn.seam.KeyValueClaim;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.PrefixKeyValues;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.nn.seam.SublayerAddition;
import org.peft4j.nn.seam.SublayerFusion;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.SublayerUpdate;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.ops.Device;

/**
 * Adapters made of others ({@code adapters} library, methods-peft.md 8.40). What they are made of has to live as long; nothing is
 * copied and nothing is owned, so closing one does nothing. Each name is what messages call it.
 *
 * @see Parts what may be a part of which
 */
public final class Composed {
    /** The kinds of points that parts may act on, head aside; {@link Parts} refuses the others. A further one needs its rule in each block. */
    static final List<Class<? extends Point<?>>> KINDS = List.of(
            LinearPoint.class, SublayerPoint.class, KeyValuePoint.class, EmbeddingPoint.class, SequencePoint.class);

    private Composed() {}

    /** With what follows from the parts as wholes. */
    private static Adapter.Builder view(String name, List<Adapter> parts) {
        Adapter.Builder builder = Adapter.builder(name, Device.CPU); // it has no tensor of its own
        builder.positions(parts.stream().mapToInt(Adapter::positions).sum());
        List<Integer> lengths = parts.stream()
                .map(Adapter::textLength)
                .filter(length -> length > 0)
                .distinct()
                .toList();
        if (lengths.size() > 1) {
            throw lengths(name, lengths);
        }
        lengths.forEach(builder::textLength);
        if (parts.stream().anyMatch(Adapter::readsAllRows)) {
            builder.readsAllRows();
        }
        return builder;
    }

    private static ConfigException lengths(String name, List<Integer> lengths) {
        return new ConfigException("composition '" + name + "': its Splits are for texts of " + lengths
                + " tokens, and a text has one length; give them sizes of one sum");
    }

    /**
     * An adapter as a part of others: without what it does to its task's head.
     *
     * @param head paths of layers and tensors that stand behind the blocks
     * @throws ConfigException if it does what no composition can have
     */
    public static Adapter part(String name, Adapter of, Set<String> head) {
        Parts.check(name, of, head);
        Adapter.Builder part = view(name, List.of(of));
        KINDS.forEach(kind -> copy(part, of, kind, path -> !head.contains(path)));
        return part.build();
    }

    /** What an adapter does to the head of its task alone; the parameters stay its own. */
    public static Adapter withHead(String name, Adapter body, Adapter ofHead, Set<String> head) {
        Adapter.Builder all = view(name, List.of(body));
        KINDS.forEach(kind -> copy(all, body, kind, path -> true));
        copy(all, ofHead, LinearPoint.class, head::contains);
        copy(all, ofHead, TensorPoint.class, head::contains);
        return all.build();
    }

    /** Whether a low-rank update of one part reads that of another ({@link #stack}). */
    public static boolean chains(Adapter adapter) {
        return adapter.lowRanks().stream().anyMatch(ChainedLowRank.class::isInstance);
    }

    /** Whether an adapter does anything to the head of its task. */
    public static boolean changes(Adapter adapter, Set<String> head) {
        return adapter.claims(LinearPoint.class).keySet().stream().anyMatch(point -> head.contains(point.path()))
                || adapter.claims(TensorPoint.class).keySet().stream().anyMatch(point -> head.contains(point.path()));
    }

    @SuppressWarnings({"unchecked", "rawtypes"}) // claims of a point are of its kind
    private static void copy(
            Adapter.Builder to, Adapter from, Class<?> kind, java.util.function.Predicate<String> paths) {
        Map<Point<?>, List<?>> claims = from.claims((Class) kind);
        claims.forEach((point, all) -> {
            if (paths.test(point.path())) {
                all.forEach(claim -> to.borrow((Point<Object>) point, claim));
            }
        });
    }

    /**
     * Parts one behind the other; what one of them does not claim is left to the others. At a sublayer each reads what the one before
     * made of it. At a square linear layer the second low-rank update reads what the first would add, and only what the last gives is
     * added. Prefixes stand side by side. Of invertible adapters behind the embeddings that of the first part acts alone.
     *
     * @throws ConfigException if two of them do at one place what cannot be done one behind the other
     */
    public static Adapter stack(String name, List<Adapter> parts) {
        Adapter.Builder stack = view(name, parts);
        each(
                LinearPoint.class,
                parts,
                (point, claims) -> stacked(name, parts, point, claims).forEach(claim -> stack.borrow(point, claim)));
        each(SublayerPoint.class, parts, (point, claims) -> {
            List<SublayerUpdate> all = claims.stream().flatMap(List::stream).toList();
            if (all.size() > 1 && all.stream().anyMatch(SublayerUpdate::behindNorm)) {
                throw Parts.refused(
                        name,
                        named(parts, claims),
                        "act on " + point.path() + ", where one of them gives what stands behind the norm"
                                + " (original_ln_after false), which nothing can be behind or before");
            }
            all.forEach(claim -> stack.borrow(point, claim));
        });
        Map<Integer, String> counts = new LinkedHashMap<>();
        each(KeyValuePoint.class, parts, (point, claims) -> {
            KeyValueClaim prefix = prefix(claims);
            counts.putIfAbsent(prefix.count(), point.path());
            stack.borrow(point, prefix);
        });
        if (counts.size() > 1) {
            throw Parts.refused(
                    name,
                    parts.stream()
                            .filter(part -> part.prefix() > 0)
                            .map(Adapter::name)
                            .toList(),
                    "have prefixes of other blocks each, so that their number differs between blocks (" + counts
                            + "), where every block has to have as many");
        }
        each(EmbeddingPoint.class, parts, (point, claims) -> {
            only(name, parts, claims, point.path()).forEach(claim -> stack.borrow(point, claim));
        });
        copy(stack, parts.get(0), SequencePoint.class, path -> true);
        return stack.build();
    }

    private static List<LinearClaim> stacked(
            String name, List<Adapter> parts, LinearPoint point, List<List<LinearClaim>> claims) {
        List<List<LinearClaim>> there =
                claims.stream().filter(own -> !own.isEmpty()).toList();
        if (there.size() == 1) {
            return there.get(0);
        }
        boolean lowRank = there.stream().flatMap(List::stream).allMatch(LowRank.class::isInstance);
        if (!lowRank || point.in() != point.out()) {
            throw Parts.refused(
                    name,
                    named(parts, claims),
                    lowRank
                            ? "add low-rank updates to " + point.path() + ", which has " + point.in() + " inputs and "
                                    + point.out() + " outputs: in a Stack the second reads what the first adds, so both"
                                    + " must be of one number (Average adds them up)"
                            : "both act on " + point.path() + " with more than low-rank updates, which cannot stand one"
                                    + " behind the other there");
        }
        List<LowRank> before = lowRanks(there.get(0));
        for (List<LinearClaim> next : there.subList(1, there.size())) {
            before = List.of(new ChainedLowRank(before, lowRanks(next)));
        }
        return List.copyOf(before);
    }

    private static List<LowRank> lowRanks(List<LinearClaim> claims) {
        return claims.stream().map(LowRank.class::cast).toList();
    }

    private static KeyValueClaim prefix(List<List<KeyValueClaim>> claims) {
        List<PrefixKeyValues> all = claims.stream()
                .flatMap(List::stream)
                .map(PrefixKeyValues.class::cast) // Parts lets no others in
                .toList();
        return all.size() == 1 ? all.get(0) : new JoinedPrefix(all);
    }

    private static <C> List<C> only(String name, List<Adapter> parts, List<List<C>> claims, String path) {
        List<List<C>> there = claims.stream().filter(own -> !own.isEmpty()).toList();
        if (there.size() > 1) {
            throw Parts.refused(
                    name,
                    named(parts, claims),
                    "both act on " + path + ", where nothing stands one behind the other (Average adds up)");
        }
        return there.get(0);
    }

    /**
     * The weighted mean of what parts do. A part that claims nothing at a place does nothing there: its share is the sublayer's own
     * output, or adds nothing.
     *
     * @param weights one for each, their sum is 1
     * @throws ConfigException if one of them does what has no mean
     */
    public static Adapter average(String name, List<Adapter> parts, List<Double> weights) {
        for (Adapter part : parts) {
            if (part.prefix() > 0) {
                throw Parts.refused(name, List.of(part.name()), "has a prefix, of which there is no mean");
            }
            if (part.changesEmbedded()) {
                throw Parts.refused(name, List.of(part.name()), "has an invertible adapter, of which there is no mean");
            }
        }
        Adapter.Builder average = view(name, parts);
        each(LinearPoint.class, parts, (point, claims) -> {
            for (int i = 0; i < claims.size(); i++) {
                for (LinearClaim claim : claims.get(i)) {
                    average.borrow(point, weighted(name, parts.get(i), point, claim, weights.get(i)));
                }
            }
        });
        each(SublayerPoint.class, parts, (point, claims) -> {
            List<SublayerChain> chains = claims.stream().map(SublayerChain::new).toList();
            List<SublayerChain> there =
                    chains.stream().filter(chain -> !chain.claims().isEmpty()).toList();
            boolean behind = there.stream().anyMatch(SublayerChain::behindNorm);
            if (behind && !there.stream().allMatch(SublayerChain::behindNorm)) {
                throw Parts.refused(
                        name,
                        named(parts, claims),
                        "act on " + point.path()
                                + ", some behind the norm (original_ln_after false) and some before it:"
                                + " of which the mean is meant, nothing says");
            }
            average.borrow(point, new AveragedSublayer(chains, weights, behind));
        });
        each(EmbeddingPoint.class, parts, (point, claims) -> {
            for (int i = 0; i < claims.size(); i++) {
                for (EmbeddingClaim claim : claims.get(i)) {
                    average.borrow(point, new Weighted.Rows((EmbeddingUpdate) claim, weights.get(i)));
                }
            }
        });
        return average.build();
    }

    private static LinearClaim weighted(
            String name, Adapter part, LinearPoint point, LinearClaim claim, double weight) {
        if (claim instanceof LowRank update) {
            return new Weighted.Factors(update, weight);
        }
        if (claim instanceof WeightDelta delta) {
            return new Weighted.Matrix(delta, weight);
        }
        if (claim instanceof BiasDelta delta) {
            return new Weighted.Bias(delta, weight);
        }
        throw Parts.refused(
                name,
                List.of(part.name()),
                "scales or turns " + point.path() + ", and of that there is no mean as of what is added");
    }

    /**
     * What a trained fusion makes of parts: at each sublayer that it mixes at, a mixture of what they add there.
     *
     * @param fusion as a part, see {@link #part}
     * @param parts in the order of its experts, whose places they take
     * @throws ConfigException if they do anything else than add to these sublayers
     */
    public static Adapter fuse(String name, Adapter fusion, List<Adapter> parts) {
        Map<SublayerPoint, List<SublayerUpdate>> mixed = fusion.claims(SublayerPoint.class);
        Adapter.Builder fuse = view(name, parts);
        for (Adapter part : parts) {
            if (part.readsAllRows()) {
                throw Parts.refused(
                        name, List.of(part.name()), "has gates, which are no part of what a fusion is trained over");
            }
            List<String> elsewhere = part.claimed().values().stream()
                    .filter(path -> part.claims(SublayerPoint.class).keySet().stream()
                            .noneMatch(point -> point.path().equals(path)))
                    .toList();
            List<String> unmixed = part.claims(SublayerPoint.class).keySet().stream()
                    .map(SublayerPoint::path)
                    .filter(path -> mixed.keySet().stream()
                            .noneMatch(point -> point.path().equals(path)))
                    .toList();
            List<String> others = elsewhere.isEmpty() ? unmixed : elsewhere;
            if (!others.isEmpty()) {
                throw Parts.refused(
                        name,
                        List.of(part.name()),
                        "acts on " + others.get(0) + ", where the fusion '" + fusion.name() + "' mixes nothing");
            }
        }
        mixed.forEach((point, claims) -> {
            List<SublayerAddition> experts = new ArrayList<>();
            for (Adapter part : parts) {
                List<SublayerUpdate> own = part.at(point);
                if (own.size() != 1 || !(own.get(0) instanceof SublayerAddition addition)) {
                    throw Parts.refused(
                            name,
                            List.of(part.name()),
                            "must be one bottleneck at " + point.path() + ", where the fusion '" + fusion.name()
                                    + "' mixes what they add");
                }
                experts.add(addition);
            }
            try {
                claims.forEach(claim -> fuse.borrow(point, ((SublayerFusion) claim).withExperts(experts)));
            } catch (IllegalArgumentException e) {
                throw new ConfigException("composition '" + name + "': " + point.path() + ": " + e.getMessage(), e);
            }
        });
        return fuse.build();
    }

    /**
     * Each part on its range of every text: bottlenecks alone, since only they act token by token.
     *
     * @param sizes of the ranges, which follow each other
     * @param begin where the first of them begins in a text
     * @param whole how many tokens a text has
     * @throws ConfigException if one of them does anything else
     */
    public static Adapter split(String name, List<Adapter> parts, List<Integer> sizes, int begin, int whole) {
        for (Adapter part : parts) {
            if (part.prefix() > 0
                    || !part.claims(LinearPoint.class).isEmpty()
                    || !part.claims(EmbeddingPoint.class).isEmpty()) {
                throw Parts.refused(
                        name,
                        List.of(part.name()),
                        "acts on linear layers, tables or keys and values; only what acts on sublayers token by token"
                                + " (bottleneck adapters) can be given a range of a text");
            }
            if (part.changesEmbedded()) {
                throw Parts.refused(
                        name,
                        List.of(part.name()),
                        "has an invertible adapter, which a language head takes back from all rows, so it cannot have a"
                                + " range of them");
            }
            if (part.readsAllRows()) {
                throw Parts.refused(
                        name,
                        List.of(part.name()),
                        "reads all tokens of a text at each of them (a gate), so it cannot have a range of them");
            }
        }
        List<Integer> begins = new ArrayList<>();
        int at = begin;
        for (int size : sizes) {
            begins.add(at);
            at += size;
        }
        int end = at;
        for (Adapter part : parts) {
            if (part.textLength() > 0 && part.textLength() != whole) {
                throw lengths(name, List.of(whole, part.textLength()));
            }
        }
        Adapter.Builder split = view(name, parts).textLength(whole);
        each(SublayerPoint.class, parts, (point, claims) -> {
            List<SublayerChain> chains = claims.stream().map(SublayerChain::new).toList();
            boolean behind = chains.stream().anyMatch(SublayerChain::behindNorm);
            split.borrow(point, new SplitSublayer(chains, begins, end, behind));
        });
        return split.build();
    }

    /** Every point of a kind that one of the parts claims, and what each of them claims there. */
    private static <C, P extends Point<C>> void each(
            Class<P> kind, List<Adapter> parts, BiConsumer<P, List<List<C>>> use) {
        Map<String, P> points = new LinkedHashMap<>();
        parts.forEach(
                part -> part.<C, P>claims(kind).keySet().forEach(point -> points.putIfAbsent(point.path(), point)));
        Function<P, List<List<C>>> claims =
                point -> parts.stream().map(part -> part.at(point)).toList();
        points.values().forEach(point -> use.accept(point, claims.apply(point)));
    }

    /** The names of those parts that claim something. */
    private static <C> List<String> named(List<Adapter> parts, List<? extends List<C>> claims) {
        List<String> names = new ArrayList<>();
        for (int i = 0; i < parts.size(); i++) {
            if (!claims.get(i).isEmpty()) {
                names.add(parts.get(i).name());
            }
        }
        return names;
    }
}
