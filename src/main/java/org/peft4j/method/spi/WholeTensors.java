package org.peft4j.method.spi;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.ModelPart;
import org.peft4j.method.ModelParts;
import org.peft4j.method.Targets;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;

/**
 * The model's own tensors, as far as {@link ModelParts} mean them: parameters in their place. One tensor of several names (a head that is
 * tied to the table of words) is one parameter, which stands in all of its places, if one of the names is meant: so it stays tied.
 */
public final class WholeTensors {
    /** The keys of {@link ModelParts} in files. */
    public static final ConfigKeys KEYS = ConfigKeys.of("peft4j")
            .all(PeftKeys.COMMON)
            .obeyed("parts", "layers", "target_modules", "exclude_modules")
            .build();

    /** What run files call otherwise. */
    public static final Map<String, String> RENAMED =
            Map.of("target_modules", "targets", "layers_to_transform", "layers");

    /** A file's tensor has at most as many bytes as a Java buffer. */
    private static final long MOST = Integer.MAX_VALUE / Float.BYTES;

    private final Points points;
    private final ModelBlocks blocks;
    private final List<List<TensorPoint>> meant; // each of one tensor

    /**
     * Finds them.
     *
     * @throws IllegalArgumentException if nothing is meant, something that the model does not have, or what cannot be trained
     */
    public WholeTensors(ModelParts chosen, Points points) {
        this.points = points;
        blocks = new ModelBlocks(points);
        List<TensorPoint> found = found(chosen);
        found.forEach(WholeTensors::check);
        meant = withTied(found);
    }

    private WholeTensors(WholeTensors all, List<List<TensorPoint>> meant) {
        points = all.points;
        blocks = all.blocks;
        this.meant = List.copyOf(meant);
    }

    /**
     * Those that a file is about: of an adapter that was made where the model has no head, this one's stays as it is.
     *
     * @param paths of the file's tensors
     * @param notes collects what the file does not have
     */
    public WholeTensors of(Collection<String> paths, List<String> notes) {
        List<List<TensorPoint>> there = new ArrayList<>();
        Set<String> lacking = new LinkedHashSet<>();
        for (List<TensorPoint> names : meant) {
            String path = names.get(0).path();
            boolean output = blocks.partOf(path) == ModelPart.HEAD
                    || blocks.partOf(path) == ModelPart.FINAL && points.linear(module(path)) != null;
            if (output && names.stream().noneMatch(name -> paths.contains(name.path()))) {
                lacking.add(module(path));
            } else {
                there.add(names);
            }
        }
        if (!lacking.isEmpty()) {
            notes.add("the adapter has nothing of " + String.join(", ", lacking) + ": the model's stays as it is");
        }
        return new WholeTensors(this, there);
    }

    private List<TensorPoint> found(ModelParts chosen) {
        List<TensorPoint> inParts = inParts(chosen, points, blocks);
        Set<String> modules = modules(chosen, inParts);
        return inParts.stream()
                .filter(point -> modules.contains(module(point.path())))
                .toList();
    }

    /** What is in the parts and layers, in the model's order. */
    private static List<TensorPoint> inParts(ModelParts chosen, Points points, ModelBlocks blocks) {
        Set<Integer> layers = layers(chosen, points);
        List<TensorPoint> found = points.tensors().values().stream()
                .filter(point -> chosen.has(blocks.partOf(point.path())))
                .filter(point -> layers.isEmpty()
                        || blocks.layerOf(point.path()) < 0
                        || layers.contains(blocks.layerOf(point.path())))
                .toList();
        for (ModelPart part : chosen.parts()) {
            if (found.stream().noneMatch(point -> blocks.partOf(point.path()) == part)) {
                throw new IllegalArgumentException(
                        "parts: " + points.architecture() + " has nothing that is " + name(part) + "; leave it out");
            }
        }
        return found;
    }

    private static Set<Integer> layers(ModelParts chosen, Points points) {
        Set<Integer> layers = new HashSet<>();
        for (int number : chosen.layers()) {
            int layer = number < 0 ? points.layers() + number : number;
            if (layer < 0 || layer >= points.layers()) {
                throw new IllegalArgumentException("layers must be from 0 to " + (points.layers() - 1)
                        + ", or from -1, the last one, to -" + points.layers() + ": the model has " + points.layers()
                        + " blocks; got " + number);
            }
            layers.add(layer);
        }
        return layers;
    }

    private Set<String> modules(ModelParts chosen, List<TensorPoint> among) {
        Set<String> all =
                among.stream().map(point -> module(point.path())).collect(Collectors.toCollection(LinkedHashSet::new));
        if (chosen.targets() == null && chosen.excludeModules() == null) {
            return all;
        }
        Set<String> candidates = new LinkedHashSet<>(all);
        Targets targets = chosen.targets();
        if (targets instanceof Targets.AllLinear) {
            candidates.retainAll(points.linears().stream()
                    .filter(point -> !point.head())
                    .map(LinearPoint::path)
                    .toList());
        }
        return new LinkedHashSet<>(modules(chosen).of(List.copyOf(candidates), path -> path));
    }

    private static TargetModules modules(ModelParts chosen) {
        Targets targets = chosen.targets();
        return new TargetModules(targets == null ? Targets.regex(".*") : targets, chosen.excludeModules(), List.of());
    }

    private static void check(TensorPoint point) {
        if (point.fixed()) {
            throw new IllegalArgumentException("targets: " + point.path()
                    + " cannot be trained as a whole: experts of a mixture stay frozen; name their module in exclude_modules,"
                    + " or choose parts without them");
        }
        if (point.value().numel() > MOST) {
            throw new IllegalArgumentException(
                    "parts: " + point.path() + " has " + point.value().numel()
                            + " numbers, and files of adapters take at most " + MOST
                            + " of a tensor; name its module in exclude_modules, or choose parts without it");
        }
    }

    /** Each tensor with all of its names. */
    private List<List<TensorPoint>> withTied(Collection<TensorPoint> found) {
        Map<Long, List<TensorPoint>> byAddress = new LinkedHashMap<>();
        Set<Long> wanted = new HashSet<>();
        try (PointerScope scope = new PointerScope()) {
            for (TensorPoint point : points.tensors().values()) {
                long address = point.value().data_ptr().address();
                byAddress.computeIfAbsent(address, none -> new ArrayList<>()).add(point);
                if (found.contains(point)) {
                    wanted.add(address);
                }
            }
        }
        byAddress.keySet().retainAll(wanted);
        return List.copyOf(byAddress.values());
    }

    /**
     * Claims them, and modules to save, beginning with the model's values. The group of a parameter is the name of its part, that of
     * modules to save where these name it.
     */
    public Adapter.Builder claim(String name, List<String> modulesToSave) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        try {
            Set<String> saved = SavedModules.of(points, modulesToSave).keySet();
            for (List<TensorPoint> names : meant) {
                TensorPoint first = names.get(0);
                String group = names.stream().map(TensorPoint::path).anyMatch(saved::contains)
                        ? SavedModules.GROUP
                        : name(blocks.partOf(first.path()));
                Parameter one = SavedModules.copy(first, group);
                builder.claim(first, one);
                for (Point<Parameter> other : names.subList(1, names.size())) {
                    builder.claim(other, one); // the parameter is there already
                }
            }
            SavedModules.claim(builder, points, modulesToSave);
            return builder;
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
    }

    /** Number of elements that {@link #claim} would train. */
    public long elements(List<String> modulesToSave) {
        Set<String> tied = meant.stream()
                .flatMap(names -> names.stream().skip(1))
                .map(TensorPoint::path)
                .collect(Collectors.toSet());
        Map<String, TensorPoint> whole = new LinkedHashMap<>(SavedModules.of(points, modulesToSave));
        meant.forEach(names -> whole.put(names.get(0).path(), names.get(0)));
        whole.keySet().removeAll(tied);
        return whole.values().stream().mapToLong(point -> point.value().numel()).sum();
    }

    /** The paths of all that is meant, a tied tensor by its first name. */
    public Stream<String> paths() {
        return meant.stream().map(names -> names.get(0).path());
    }

    /** What {@code adapter_config.json} has of the choice. */
    public static void put(ModelParts chosen, Points points, Map<String, @Nullable Object> file) {
        file.put("parts", chosen.parts().stream().map(WholeTensors::name).toList());
        file.put(
                "layers",
                chosen.layers().stream()
                        .map(number -> number < 0 ? points.layers() + number : number)
                        .toList());
        Targets targets = chosen.targets();
        file.put("target_modules", targets == null ? null : targets.toTree());
        Targets excluded = chosen.excludeModules();
        file.put("exclude_modules", excluded == null ? null : excluded.toTree());
    }

    /** The choice of a file. */
    public static ModelParts read(PeftConfigReader config) throws org.peft4j.error.MalformedFileException {
        List<ModelPart> parts = new ArrayList<>();
        for (String name : config.texts("parts")) {
            parts.add(Stream.of(ModelPart.values())
                    .filter(part -> name(part).equals(name))
                    .findFirst()
                    .orElseThrow(() -> config.wrong(
                            "parts",
                            "must be of "
                                    + Stream.of(ModelPart.values())
                                            .map(WholeTensors::name)
                                            .toList(),
                            name)));
        }
        return new ModelParts(
                parts, config.counts("layers"), config.targets("target_modules"), config.targets("exclude_modules"));
    }

    /** The choice in words about other paths of the same modules: as it is if they mean the same, else module by module. */
    public static ModelParts respelled(
            ModelParts chosen, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        if (chosen.targets() == null && chosen.excludeModules() == null) {
            return chosen;
        }
        TargetModules modules = modules(chosen);
        Set<String> linears = points.linears().stream()
                .filter(point -> !point.head())
                .map(LinearPoint::path)
                .collect(Collectors.toSet());
        List<String> all = inParts(chosen, points, new ModelBlocks(points)).stream()
                .map(point -> module(point.path()))
                .filter(path -> !(chosen.targets() instanceof Targets.AllLinear) || linears.contains(path))
                .distinct()
                .toList();
        boolean same =
                all.stream().allMatch(path -> modules.matches(from.apply(path)) == modules.matches(to.apply(path)));
        List<String> meant = all.stream()
                .filter(path -> modules.matches(from.apply(path)))
                .map(to)
                .toList();
        return same || meant.isEmpty()
                ? chosen
                : chosen.withTargets(Targets.names(meant)).withoutModules(null);
    }

    private static String name(ModelPart part) {
        return part.name().toLowerCase(Locale.ROOT);
    }

    private static String module(String tensor) {
        return tensor.substring(0, Math.max(0, tensor.lastIndexOf('.')));
    }
}
