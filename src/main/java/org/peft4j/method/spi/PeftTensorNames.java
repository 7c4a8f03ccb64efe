package org.peft4j.method.spi;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorNames;
import org.peft4j.nn.seam.Points;

/**
 * The tensors of an adapter's file under the paths that parameters have. Beside what {@link TensorNames} takes away these
 * do not count:
 *
 * <pre>
 * base_model.model.x                   what PEFT puts around the model
 * x.lora_A.default.weight, x.ia3_l.default   the adapter's name, which PEFT leaves out of its files and others do not
 * x.modules_to_save.default.weight     the same around a saved module; without a name it is a second copy
 * x.original_module.weight             the base's values beside a saved module, which are not the adapter's
 * x.base_layer.bias                    what PEFT puts around an adapted layer
 * encoder.layer.0.x                    without the backbone's name, of an adapter that was made on the bare backbone
 * </pre>
 *
 * The paths in an adapter's config are those of its tensors ({@link #spelling}); of an adapter that is written, those of
 * transformers' class ({@link #written}).
 */
public final class PeftTensorNames {
    private static final Set<String> NAMED = Set.of("lora_A", "lora_B");
    private static final Set<String> NAMED_LEAVES =
            Set.of("lora_embedding_A", "lora_embedding_B", "ia3_l", "trainable_tokens_delta");
    private static final List<String> CLAIMS = List.of(".lora_", ".ia3_l", ".trainable_tokens_delta");
    private static final String SAVED = "modules_to_save";
    private static final String BASE_VALUES = "original_module";
    private static final String ADAPTED = "base_layer";

    private PeftTensorNames() {}

    /**
     * The file's tensors by path, in the file's order.
     *
     * @param prefix what the method's files put before each path
     * @throws MalformedFileException if two tensors of different values have one path; it shows both names
     */
    public static Map<String, TensorData> byPath(AdapterFile file, String prefix, Points points)
            throws MalformedFileException {
        Map<String, TensorData> found = new LinkedHashMap<>();
        Set<String> modules = points.modules();
        for (Map.Entry<String, TensorData> entry : file.tensors().entrySet()) {
            String name = inside(entry.getKey(), prefix);
            if (Arrays.asList(name.split("\\.")).contains(BASE_VALUES)) {
                continue;
            }
            String path = withBackbone(path(name, false), modules, points);
            if (name.contains(SAVED) && !isKnown(path, points)) {
                path = withBackbone(path(name, true), modules, points);
            }
            TensorData other = found.putIfAbsent(path, entry.getValue());
            if (other != null && !other.bytes().equals(entry.getValue().bytes())) {
                throw TensorNames.twice(
                        file.directory().resolve(AdapterFiles.TENSORS), other.name(), entry.getKey(), path);
            }
        }
        return found;
    }

    /** The file's tensor whose path ends with this one, such as {@code classifier.weight}, where no model is at hand. */
    public static Optional<TensorData> ending(AdapterFile file, String path) {
        return file.tensors().entrySet().stream()
                .filter(entry -> {
                    String plain = TensorNames.plain(entry.getKey());
                    return Stream.of(path(plain, false), path(plain, true))
                            .anyMatch(found -> found.equals(path) || found.endsWith("." + path));
                })
                .filter(entry -> !entry.getKey().contains("." + BASE_VALUES + "."))
                .map(Map.Entry::getValue)
                .findFirst();
    }

    /**
     * Without the adapter's name and PEFT's wrappers.
     *
     * @param savedIsNamed whether the element behind {@code modules_to_save} is the adapter's name
     */
    private static String path(String name, boolean savedIsNamed) {
        String[] parts = name.split("\\.", -1);
        List<String> kept = new ArrayList<>();
        for (int i = 0; i < parts.length; i++) {
            String part = parts[i];
            if (part.equals(SAVED)) {
                i += savedIsNamed ? 1 : 0;
            } else if (!part.equals(ADAPTED)) {
                kept.add(part);
                boolean named = NAMED.contains(part) && i + 2 < parts.length
                        || NAMED_LEAVES.contains(part) && i + 2 == parts.length;
                i += named ? 1 : 0;
            }
        }
        return String.join(".", kept);
    }

    private static String inside(String name, String prefix) {
        String plain = TensorNames.plain(name);
        return plain.startsWith(prefix) ? plain.substring(prefix.length()) : plain;
    }

    private static String withBackbone(String path, Set<String> modules, Points points) {
        return isBare(path, modules, points) ? points.backbone() + path : path;
    }

    /** Whether a path begins inside of the backbone. */
    private static boolean isBare(String path, Set<String> modules, Points points) {
        String first = path.substring(0, Math.max(0, path.indexOf('.')));
        return !modules.contains(first) && modules.contains(points.backbone() + first);
    }

    /**
     * How an adapter's file, and so its config, spells the paths of modules: as here, or without the backbone's name.
     *
     * @param prefix what the method's files put before each path
     */
    public static UnaryOperator<String> spelling(AdapterFile file, String prefix, Points points) {
        Set<String> modules = points.modules();
        boolean bare = file.tensors().keySet().stream()
                .anyMatch(name -> isBare(path(inside(name, prefix), false), modules, points));
        return bare ? path -> withoutBackbone(path, points) : UnaryOperator.identity();
    }

    /** How files for Hugging Face PEFT spell paths of this model: those of the backbone alone have no name of it. */
    public static UnaryOperator<String> written(Points points) {
        return points.bare() ? path -> withoutBackbone(path, points) : UnaryOperator.identity();
    }

    private static String withoutBackbone(String path, Points points) {
        return path.startsWith(points.backbone())
                ? path.substring(points.backbone().length())
                : path;
    }

    /** The name of a tensor in files for this model, from the one with the whole path. */
    static String written(String name, Points points) {
        for (String prefix : List.of(PeftKeys.MODEL, PeftKeys.INPUT)) {
            if (points.bare() && name.startsWith(prefix + points.backbone())) {
                return prefix
                        + name.substring(prefix.length() + points.backbone().length());
            }
        }
        return name;
    }

    /** Whether a tensor of the model, or something at a layer of it that has a weight, has this path. */
    private static boolean isKnown(String path, Points points) {
        String own = path;
        for (String claim : CLAIMS) {
            int at = path.indexOf(claim);
            own = at < 0 ? own : path.substring(0, at) + ".weight";
        }
        return points.tensors().containsKey(own);
    }
}
