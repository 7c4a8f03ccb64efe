package org.peft4j.nn.compose;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.peft4j.error.ConfigException;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.EmbeddedUpdate;
import org.peft4j.nn.seam.EmbeddingClaim;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.EmbeddingUpdate;
import org.peft4j.nn.seam.KeyValueClaim;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.PrefixKeyValues;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.nn.seam.TensorPoint;

/**
 * What an adapter may do that is a part of another for the same rows. What is not named here is refused. What it asks of steps that train
 * it ({@link Adapter#hooks}, {@link Adapter#secondLevel}) is left out: nothing trains a composition.
 */
final class Parts {
    private static final String WORKS =
            "; what works: in a Stack bottleneck adapters, prefixes, low-rank updates of square layers, and whatever one part"
                    + " alone does to a linear layer; in an Average bottleneck adapters and what is added to linear layers;"
                    + " in a Split bottleneck adapters; for rows of their own (Parallel, BatchSplit) all adapters";

    private Parts() {}

    static ConfigException refused(String composition, List<String> parts, String what) {
        return new ConfigException("composition '" + composition + "': "
                + parts.stream().map(name -> "'" + name + "'").collect(Collectors.joining(", ")) + " " + what + WORKS);
    }

    /** @param head paths that stand behind the blocks, where everything may happen */
    static void check(String name, Adapter adapter, Set<String> head) {
        found(adapter, head).ifPresent(what -> {
            throw new ConfigException("'" + name + "' " + what + ", and cannot be a part of a composition" + WORKS);
        });
    }

    private static Optional<String> found(Adapter adapter, Set<String> head) {
        if (adapter.routing() != null) {
            return Optional.of("weighs its updates by a pass of its own before each call");
        }
        if (adapter.tasks() > 0) {
            return Optional.of("has tasks, of which each row has to be of one");
        }
        if (!adapter.invocations().isEmpty()) {
            return Optional.of("acts from certain tokens of a text on (alora_invocation_tokens)");
        }
        for (Map.Entry<Class<?>, String> points : adapter.claimed().entrySet()) {
            Class<?> kind = points.getKey();
            if (kind == TensorPoint.class) {
                Optional<String> own = adapter.claims(TensorPoint.class).keySet().stream()
                        .map(TensorPoint::path)
                        .filter(path -> !head.contains(path))
                        .findFirst();
                if (own.isPresent()) {
                    return Optional.of("has a tensor of its own in place of the model's " + own.get()
                            + " (modules_to_save, biases, norms)");
                }
            } else if (Composed.KINDS.stream().noneMatch(kind::equals)
                    || kind == SequencePoint.class && !onlyInvertible(adapter)) {
                return Optional.of("acts on " + points.getValue() + " ("
                        + kind.getSimpleName().replace("Point", "").toLowerCase(java.util.Locale.ROOT)
                        + ": rows before a text or added to its words, or experts)");
            }
        }
        for (Map.Entry<KeyValuePoint, List<KeyValueClaim>> point :
                adapter.claims(KeyValuePoint.class).entrySet()) {
            if (!point.getValue().stream().allMatch(PrefixKeyValues.class::isInstance)) {
                return Optional.of("has prompts in the blocks, which are made of each text or have a gate ("
                        + point.getKey().path() + ")");
            }
        }
        for (Map.Entry<EmbeddingPoint, List<EmbeddingClaim>> point :
                adapter.claims(EmbeddingPoint.class).entrySet()) {
            if (!point.getValue().stream().allMatch(EmbeddingUpdate.class::isInstance)) {
                return Optional.of("has rows of its own in place of some of "
                        + point.getKey().path());
            }
        }
        return Optional.empty();
    }

    private static boolean onlyInvertible(Adapter adapter) {
        return adapter.claims(SequencePoint.class).values().stream()
                .flatMap(List::stream)
                .allMatch(EmbeddedUpdate.class::isInstance);
    }
}
