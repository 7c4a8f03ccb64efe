package org.peft4j.io.safetensors;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.peft4j.error.MalformedFileException;

/**
 * The one step that gives tensors the names they have in a model, whatever was around the model when it was saved. It is
 * the same for bases and adapters:
 *
 * <pre>
 * module.bert.x, base_model.model.module.x          DataParallel
 * _orig_mod.x, bert._orig_mod.x                     torch.compile
 * _fsdp_wrapped_module.x, _checkpoint_wrapped_module.x   sharding, recomputing
 * LayerNorm.gamma, LayerNorm.beta                   BERT's first names of weight and bias
 * </pre>
 */
public final class TensorNames {
    private static final Set<String> WRAPPERS =
            Set.of("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module");
    private static final String DATA_PARALLEL = "module";

    /** Most names that a message shows. */
    private static final int SHOWN = 3;

    private TensorNames() {}

    /** The name without wrappers, in today's words. */
    public static String plain(String name) {
        List<String> parts = Arrays.stream(name.split("\\.", -1))
                .filter(part -> !WRAPPERS.contains(part))
                .toList();
        List<String> kept = new ArrayList<>();
        List<String> outermost = List.of("base_model", "model"); // what PEFT puts around the model
        for (String part : parts) {
            boolean wrapper = part.equals(DATA_PARALLEL)
                    && kept.size() <= outermost.size()
                    && kept.equals(outermost.subList(0, kept.size()));
            if (!wrapper) {
                kept.add(part);
            }
        }
        int last = kept.size() - 1;
        if (last > 0 && kept.get(last - 1).equals("LayerNorm")) {
            switch (kept.get(last)) {
                case "gamma" -> kept.set(last, "weight");
                case "beta" -> kept.set(last, "bias");
                default -> {}
            }
        }
        return String.join(".", kept);
    }

    /**
     * The values under new names, in their order.
     *
     * @param where the file or directory that they are from, for messages
     * @throws MalformedFileException if two names become one; it shows both
     */
    public static <V> Map<String, V> renamed(Path where, Map<String, V> tensors, UnaryOperator<String> rename)
            throws MalformedFileException {
        Map<String, V> renamed = new LinkedHashMap<>();
        Map<String, String> former = new LinkedHashMap<>();
        for (Map.Entry<String, V> entry : tensors.entrySet()) {
            String name = rename.apply(entry.getKey());
            String other = former.putIfAbsent(name, entry.getKey());
            if (other != null) {
                throw twice(where, other, entry.getKey(), name);
            }
            renamed.put(name, entry.getValue());
        }
        return renamed;
    }

    /** Two names of a file that mean one tensor. */
    public static MalformedFileException twice(Path where, String one, String other, String name) {
        return new MalformedFileException(
                where, -1, "tensors '" + one + "' and '" + other + "' are both '" + name + "'; only one may be there");
    }

    /** For messages: {@code "a, b, c, … (201 tensors)"}. */
    public static String some(Collection<String> names) {
        return names.stream().limit(SHOWN).collect(Collectors.joining(", "))
                + (names.size() > SHOWN ? ", …" : "")
                + " ("
                + names.size()
                + (names.size() == 1 ? " tensor)" : " tensors)");
    }

    /** As {@link #some(Collection)}, of things that have names. */
    public static <V> String some(Collection<V> tensors, Function<V, String> name) {
        return some(tensors.stream().map(name).toList());
    }
}
