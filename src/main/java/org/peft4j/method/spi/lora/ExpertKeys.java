package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.Points;

/**
 * The names that A and B of experts' tensors have in files. PEFT wraps the module of all experts once for each adapted tensor, and
 * the wrapper of the first is innermost:
 *
 * <pre>
 * experts.base_layer.lora_A.weight   of gate_up_proj, where down_proj is adapted, too
 * experts.lora_A.weight              of down_proj; of gate_up_proj, where it is alone
 * </pre>
 */
final class ExpertKeys {
    private static final String WRAPPER = ".base_layer";

    private ExpertKeys() {}

    private static String module(ExpertsPoint point) {
        return point.path().substring(0, point.path().lastIndexOf('.'));
    }

    /** Adapted points by their module, each in the model's order. */
    private static Map<String, List<ExpertsPoint>> byModule(List<ExpertsPoint> adapted) {
        Map<String, List<ExpertsPoint>> modules = new LinkedHashMap<>();
        adapted.forEach(point -> modules.computeIfAbsent(module(point), module -> new ArrayList<>())
                .add(point));
        return modules;
    }

    /** What stands before {@code .lora_A.weight} in files, by the points' paths. */
    private static Map<String, String> wrappers(List<ExpertsPoint> adapted) {
        Map<String, String> names = new LinkedHashMap<>();
        byModule(adapted).forEach((module, points) -> {
            for (int i = 0; i < points.size(); i++) {
                names.put(points.get(i).path(), module + WRAPPER.repeat(points.size() - 1 - i));
            }
        });
        return names;
    }

    /** The names of parameters in files; those that are not of experts get {@code others}. */
    static UnaryOperator<String> inFile(Adapter adapter, UnaryOperator<String> others) {
        Map<String, String> wrappers =
                wrappers(List.copyOf(adapter.claims(ExpertsPoint.class).keySet()));
        return path -> {
            Optional<Map.Entry<String, String>> own = wrappers.entrySet().stream()
                    .filter(entry -> path.startsWith(entry.getKey() + "."))
                    .findFirst();
            return own.map(entry -> others.apply(
                            entry.getValue() + path.substring(entry.getKey().length())))
                    .orElseGet(() -> others.apply(path));
        };
    }

    /**
     * The file with names by tensor in place of wrappers: {@code experts.gate_up_proj.lora_A.weight}.
     *
     * @param adapted the points that the file's config names
     * @throws MalformedFileException if its tensors are of more, or fewer, points
     */
    static AdapterFile unwrapped(AdapterFile file, List<ExpertsPoint> adapted, Points points)
            throws MalformedFileException {
        Map<String, String> wrappers = wrappers(adapted);
        Map<String, TensorData> tensors = new LinkedHashMap<>();
        for (Map.Entry<String, TensorData> entry : file.tensors().entrySet()) {
            String name = entry.getKey();
            String renamed = name;
            for (ExpertsPoint point : points.all(ExpertsPoint.class)) {
                String module = inFile(module(point), points);
                int at = name.indexOf(module + ".");
                if (at < 0 || at > 0 && name.charAt(at - 1) != '.') {
                    continue;
                }
                String wrapper = wrappers.get(point.path());
                int lora = name.indexOf(".lora_", at + module.length());
                boolean only = lora >= 0
                        && name.substring(at + module.length(), lora)
                                .replace(WRAPPER, "")
                                .isEmpty();
                if (only && wrapper != null && name.substring(at, lora).equals(inFile(wrapper, points))) {
                    renamed = name.substring(0, at) + inFile(point.path(), points) + name.substring(lora);
                }
            }
            if (renamed.equals(name) && isOfExperts(name, points)) {
                throw PeftTensors.malformed(
                        file,
                        "tensor " + name
                                + " adapts a tensor of experts that target_parameters of the config does not name; it"
                                + " names "
                                + adapted.stream().map(ExpertsPoint::path).toList());
            }
            tensors.put(renamed, entry.getValue());
        }
        return new AdapterFile(file.directory(), file.config(), tensors);
    }

    private static boolean isOfExperts(String name, Points points) {
        return points.all(ExpertsPoint.class).stream()
                .map(point -> inFile(module(point), points))
                .anyMatch(module -> name.contains(module + ".lora_") || name.contains(module + WRAPPER));
    }

    /** A path as files may begin it: of the bare backbone they have no name of it. */
    private static String inFile(String path, Points points) {
        return path.startsWith(points.backbone())
                ? path.substring(points.backbone().length())
                : path;
    }

    /** What files put before the paths. */
    static UnaryOperator<String> withPrefix(Adapter adapter) {
        return inFile(adapter, PeftTensors.key(PeftKeys.MODEL, adapter));
    }
}
