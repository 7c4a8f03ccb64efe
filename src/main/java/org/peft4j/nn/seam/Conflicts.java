package org.peft4j.nn.seam;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.peft4j.error.ConfigException;

/**
 * Claims that cannot hold together for the same rows, found before anything is computed: one of them would be dropped, or the
 * order would decide and nothing says it. Whatever adds up (low-rank updates), multiplies (scales) or stands in the adapters'
 * order (inserted rows, sublayers) is taken.
 */
final class Conflicts {
    private static final String WEIGHT = ".weight";

    private Conflicts() {}

    /** Refuses adapters that cannot apply to the same rows; the message names both, the place and the way out. */
    static void check(List<Adapter> adapters) {
        for (int i = 0; i < adapters.size(); i++) {
            for (int j = i + 1; j < adapters.size(); j++) {
                check(adapters.get(i), adapters.get(j));
                check(adapters.get(j), adapters.get(i));
            }
        }
    }

    private static void check(Adapter one, Adapter other) {
        between(one, other).ifPresent(what -> {
            throw new ConfigException("adapters '" + one.name() + "' and '" + other.name() + "' " + what
                    + "; give them to different rows, or load one without it");
        });
    }

    /** Refuses an adapter whose own claims cannot hold together. */
    static void check(Adapter adapter) {
        for (Map.Entry<TensorPoint, List<Parameter>> entry :
                adapter.claims(TensorPoint.class).entrySet()) {
            if (entry.getValue().size() > 1) {
                throw new IllegalStateException(
                        "an adapter replaces a tensor once: " + entry.getKey().path());
            }
        }
        updatedAndReplaced(adapter, adapter).ifPresent(tensor -> {
            throw new ConfigException("adapter '" + adapter.name() + "' replaces " + tensor
                    + " as a whole and adds a low-rank update to it, or scales it, or replaces rows of it; leave the"
                    + " module out of targets (exclude_modules does that) or out of modules_to_save");
        });
    }

    /** What the two do that cannot be; each pair is asked in both orders. */
    private static Optional<String> between(Adapter one, Adapter other) {
        if (one.routing() != null) {
            return Optional.of(
                    "cannot both apply: the first weighs its updates by what the model alone makes of the text,"
                            + " and has its rows for itself");
        }
        for (TensorPoint point : one.claims(TensorPoint.class).keySet()) {
            if (!other.at(point).isEmpty()) {
                return Optional.of("both replace " + point.path());
            }
        }
        if (one.changesEmbedded() && other.changesEmbedded()) {
            return Optional.of("both have an invertible adapter: of a stack the first one's alone acts (Adapter.stack),"
                    + " elsewhere nothing says which does");
        }
        for (KeyValuePoint point : one.claims(KeyValuePoint.class).keySet()) {
            if (!other.at(point).isEmpty()) {
                return Optional.of("both act on keys and values of " + point.path());
            }
        }
        for (Map.Entry<SublayerPoint, List<SublayerUpdate>> entry :
                one.claims(SublayerPoint.class).entrySet()) {
            if (entry.getValue().stream().anyMatch(SublayerUpdate::behindNorm)
                    && !other.at(entry.getKey()).isEmpty()) {
                return Optional.of("cannot both act on " + entry.getKey().path()
                        + ": the first gives what stands behind its norm; nothing is added to that");
            }
        }
        return sameTokenRow(one, other)
                .or(() -> updatedAndReplaced(other, one)
                        .map(tensor -> "cannot both apply: the first replaces " + tensor
                                + ", to which the second adds a low-rank update, or which it scales, or of which it"
                                + " replaces rows"))
                .or(() -> scaledAndUpdated(one, other).map(Conflicts::scales));
    }

    private static String scales(String layer) {
        return "scale or turn " + layer
                + " and add to it: whether what is added is scaled or turned, too, nothing says";
    }

    /** The tensor that one replaces as a whole while the other acts on the layer that reads it. */
    private static Optional<String> updatedAndReplaced(Adapter updates, Adapter replaces) {
        List<Point<?>> layers =
                new ArrayList<>(updates.claims(LinearPoint.class).keySet());
        layers.addAll(updates.claims(EmbeddingPoint.class).keySet());
        List<String> replaced = replaces.claims(TensorPoint.class).keySet().stream()
                .map(TensorPoint::path)
                .toList();
        return layers.stream()
                .map(layer -> layer.path() + WEIGHT)
                .filter(replaced::contains)
                .findFirst();
    }

    /** A layer of which one multiplies the product, input or output, while the other adds to it, or multiplies the product, too. */
    private static Optional<String> scaledAndUpdated(Adapter one, Adapter other) {
        return one.claims(LinearPoint.class).entrySet().stream()
                .filter(entry -> entry.getValue().stream()
                        .anyMatch(mine -> !mine.adds()
                                && !(mine instanceof InputUpdate input && input.watches())
                                && other.at(entry.getKey()).stream()
                                        .anyMatch(theirs -> theirs.adds()
                                                || mine instanceof Magnitude && theirs instanceof Magnitude)))
                .map(entry -> entry.getKey().path())
                .findFirst();
    }

    private static Optional<String> sameTokenRow(Adapter one, Adapter other) {
        for (Map.Entry<EmbeddingPoint, List<EmbeddingClaim>> entry :
                one.claims(EmbeddingPoint.class).entrySet()) {
            String path = entry.getKey().path();
            for (EmbeddingClaim mine : entry.getValue()) {
                for (EmbeddingClaim theirs : other.at(entry.getKey())) {
                    if (mine instanceof TokenRows a && theirs instanceof TokenRows b) {
                        Optional<Long> row = a.indexes().stream()
                                .filter(b.indexes()::contains)
                                .findFirst();
                        if (row.isPresent()) {
                            return Optional.of("both replace row " + row.get() + " of " + path);
                        }
                    } else if (mine instanceof TokenRows || theirs instanceof TokenRows) {
                        return Optional.of("replace rows of " + path
                                + " and add to rows of it: whether the new rows are added to, too, nothing says");
                    }
                }
            }
        }
        return Optional.empty();
    }
}
