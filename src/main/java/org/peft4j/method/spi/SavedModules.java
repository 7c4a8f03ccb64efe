package org.peft4j.method.spi;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.peft4j.error.ConfigException;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;

/**
 * {@code modules_to_save}: modules that an adapter trains and keeps as a whole, the same for every method. A module is
 * meant if its path ends with one of the names, as in Hugging Face PEFT; a name that matches nothing is passed over, since
 * PEFT itself writes names that only other architectures have ("score").
 */
public final class SavedModules {
    /** The parameter group of these modules. */
    public static final String GROUP = "modules_to_save";

    private SavedModules() {}

    /** The tensors of the named modules, by path, in the model's order. */
    public static Map<String, TensorPoint> of(Points points, Collection<String> names) {
        List<String> modules = modules(points, names);
        Map<String, TensorPoint> found = new LinkedHashMap<>();
        points.tensors().forEach((path, point) -> {
            if (modules.stream().anyMatch(module -> path.startsWith(module + "."))) {
                found.put(path, point);
            }
        });
        return found;
    }

    /**
     * Refuses a name that would mean more in the adapter's file than here: {@code model.norm} is {@code norm} in the files of
     * a backbone alone, where every {@code input_layernorm} ends so and Hugging Face PEFT takes them, too.
     *
     * @throws ConfigException if there is one
     */
    public static void checkWritten(Points points, Collection<String> names) {
        UnaryOperator<String> written = PeftTensorNames.written(points);
        for (String name : names) {
            String word = written.apply(name);
            List<String> meant = modules(points, List.of(name));
            List<String> more = modules(points, List.of(word)).stream()
                    .filter(module -> !meant.contains(module))
                    .toList();
            if (!more.isEmpty()) {
                throw new ConfigException("modules_to_save: '" + name + "' is '" + word
                        + "' in the files of a backbone alone, and Hugging Face PEFT takes that for every module whose path"
                        + " ends so, " + more.size() + " more (" + more.get(0) + "); write '" + word
                        + "' if all of them are meant, else leave it out");
            }
        }
    }

    private static List<String> modules(Points points, Collection<String> names) {
        return points.modules().stream()
                .filter(module -> names.stream().anyMatch(module::endsWith))
                .toList();
    }

    /** Claims them, beginning with the model's values. */
    public static void claim(Adapter.Builder builder, Points points, Collection<String> names) {
        of(points, names).forEach((path, point) -> {
            if (!builder.claims(point)) {
                builder.claim(point, copy(point, GROUP));
            }
        });
    }

    /**
     * Claims every tensor of the model that an adapter's file holds as a whole though its config does not name it: the
     * embedding table that PEFT saves once tokens were added. It counts in place of the model's, as in PEFT.
     *
     * @param paths of the file's tensors
     */
    public static void claimWhole(
            Adapter.Builder builder, Points points, Collection<String> paths, List<String> notes) {
        for (String path : paths) {
            TensorPoint point = points.tensors().get(path);
            if (point != null && !builder.claims(point)) {
                builder.claim(point, copy(point, GROUP));
                notes.add("the adapter has its own " + path + ", which takes the place of the model's");
            }
        }
    }

    /**
     * A parameter that begins with the tensor's values.
     *
     * @throws ConfigException if nothing can take the tensor's place
     */
    public static Parameter copy(TensorPoint point, String group) {
        if (point.fixed()) {
            throw new ConfigException("modules_to_save: " + point.path()
                    + " is not offered as a whole: experts of a mixture stay frozen; leave its module out");
        }
        return Parameter.of(
                point.path(), group, () -> point.value().to(org.bytedeco.pytorch.global.torch.ScalarType.Float));
    }

    /** Number of elements that are trained. */
    public static long elements(Points points, Collection<String> names) {
        return elements(points, names, List.of());
    }

    /** The same with other tensors that are trained as a whole, each once. */
    public static long elements(Points points, Collection<String> names, Collection<TensorPoint> others) {
        Map<String, TensorPoint> whole = of(points, names);
        others.forEach(point -> whole.put(point.path(), point));
        return whole.values().stream().mapToLong(point -> point.value().numel()).sum();
    }
}
