package org.peft4j.method.spi;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.LayerChoice;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;
import org.peft4j.method.UsualTargets;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Points;

/**
 * A method that does something of its own to linear layers. It says which tensors a layer gets and what is claimed with them;
 * targets, files, counts and merging are the same for all.
 *
 * @param <C> its settings
 */
public abstract class LinearMethod<C extends LinearMethodConfig> implements Method<C> {
    /** How the names of a layer's tensors end, behind its path: {@code vera_lambda_b}. */
    protected abstract List<String> suffixes();

    /**
     * Gives each layer its tensors and claims.
     *
     * @throws IllegalArgumentException if a setting does not fit a layer; the message begins with its name
     */
    protected abstract void adapt(C config, AdaptedLayers layers);

    /** Number of elements that {@link #adapt} would train. */
    protected abstract long elements(C config, List<LinearPoint> layers);

    /** What {@code adapter_config.json} has of this method beside the layers. */
    protected abstract Map<String, Object> fileConfig(C config);

    /** The same settings with each map of patterns for ends of paths changed; as they are where there are none. */
    protected C withPatterns(C config, PatternRule.Change change) {
        return config;
    }

    /** How those patterns find their layers. */
    protected PatternRule patternRule() {
        return PatternRule.RANKS;
    }

    /** The layers that are adapted where nothing is said. */
    protected Targets usual(Targets targets, String modelType) {
        return UsualTargets.resolve(targets, modelType);
    }

    /** The same, for methods that find them by the model's points. */
    protected Targets usual(Targets targets, Points points) {
        return usual(targets, points.modelType());
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets");
    }

    private TargetLayers resolved(C config, Points points) {
        TargetLayers layers = config.layers();
        return layers.withTargets(usual(layers.targets(), points));
    }

    private TargetModules modules(C config, Points points) {
        return new TargetModules(resolved(config, points), config.modulesToSave());
    }

    private List<LinearPoint> layers(C config, Points points) {
        List<LinearPoint> found = modules(config, points).linears(points);
        LayerChoice choice = new LayerChoice(resolved(config, points), config.modulesToSave());
        TargetModules.checkLayers(
                config.layers().layersToTransform(),
                choice::layerOf,
                found.stream().map(LinearPoint::path).toList());
        return found;
    }

    @Override
    public Adapter attach(String name, C config, Points points, long seed) {
        List<LinearPoint> layers = layers(config, points);
        List<String> adapted = layers.stream().map(LinearPoint::path).toList();
        withPatterns(config, (setting, patterns) -> {
            patternRule().check(setting, patterns, adapted);
            return patterns;
        });
        return build(name, config, layers, points, seed, null, List.of());
    }

    private Adapter build(
            String name,
            C config,
            List<LinearPoint> layers,
            Points points,
            long seed,
            AdaptedLayers.@Nullable Source source,
            List<String> notes) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        try {
            adapt(config, new AdaptedLayers(builder, points, layers, seed, source));
            SavedModules.claim(builder, points, config.modulesToSave());
            if (source != null) {
                SavedModules.claimWhole(builder, points, source.byPath().keySet(), notes);
            }
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
        return builder.build();
    }

    @Override
    public Adapter read(String name, C config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        PeftTensors.noteTransposed(file, points, notes);
        Map<String, TensorData> byPath = new LinkedHashMap<>(PeftTensorNames.byPath(file, PeftKeys.MODEL, points));
        removeCopies(file, byPath);
        TargetModules modules = modules(config, points);
        List<LinearPoint> layers = layersOf(file, byPath, points, modules);
        modules.noteUnused(
                points.linears().stream().map(LinearPoint::path).toList(),
                layers.stream().map(LinearPoint::path).toList(),
                notes);
        Adapter adapter = build(name, config, layers, points, 0, new AdaptedLayers.Source(file, byPath), notes);
        return PeftTensors.filled(adapter, file, byPath, PeftTensors.key(PeftKeys.MODEL, adapter), notes);
    }

    /**
     * Takes tensors away that a file has more than once, or that say nothing.
     *
     * @param byPath the file's tensors, may be changed
     */
    protected void removeCopies(AdapterFile file, Map<String, TensorData> byPath) throws MalformedFileException {}

    /**
     * Where the file has tensors of the method, whatever its config says of targets, and where the config's targets are in the
     * backbone, whose tensors are missed then; a head may be another one than the adapter was made with.
     */
    private List<LinearPoint> layersOf(
            AdapterFile file, Map<String, TensorData> byPath, Points points, TargetModules modules)
            throws MalformedFileException {
        Set<String> there = new HashSet<>();
        for (Map.Entry<String, TensorData> entry : byPath.entrySet()) {
            String layer = layerOf(entry.getKey());
            if (layer != null && points.linear(layer) == null) {
                throw PeftTensors.malformed(
                        file,
                        "tensor " + entry.getValue().name() + " adapts a linear layer that " + points.architecture()
                                + " does not have");
            }
            if (layer != null) {
                there.add(layer);
            }
        }
        List<LinearPoint> layers = there.isEmpty()
                ? List.of()
                : points.linears().stream()
                        .filter(point -> there.contains(point.path())
                                || point.path().startsWith(points.backbone()) && modules.adapts(point))
                        .toList();
        if (layers.isEmpty()) {
            throw PeftTensors.malformed(
                    file,
                    "has no tensor named " + PeftKeys.MODEL + "…." + suffixes().get(0) + PeftTensors.has(file));
        }
        return layers;
    }

    /** The layer that a tensor of the method belongs to, or null. */
    private @Nullable String layerOf(String path) {
        return suffixes().stream()
                .filter(suffix -> path.endsWith("." + suffix))
                .map(suffix -> path.substring(0, path.length() - suffix.length() - 1))
                .findFirst()
                .orElse(null);
    }

    @Override
    @SuppressWarnings("unchecked") // settings give settings of their own class
    public C respelled(C config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        TargetModules modules = modules(config, points);
        List<LinearPoint> all = points.linears();
        boolean same = all.stream()
                .allMatch(point -> modules.adapts(point, from.apply(point.path()))
                        == modules.adapts(point, to.apply(point.path())));
        List<String> adapted = all.stream()
                .filter(point -> modules.adapts(point, from.apply(point.path())))
                .map(point -> to.apply(point.path()))
                .toList();
        List<String> paths = all.stream().map(LinearPoint::path).toList();
        C own = withPatterns(config, (setting, patterns) -> patternRule().respelled(patterns, paths, from, to));
        return same || adapted.isEmpty() ? own : (C) own.withLayers(TargetLayers.of(Targets.names(adapted)));
    }

    @Override
    public Map<String, Object> fileConfig(C config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        LinearKeys.put(inFile(config, points), file);
        file.keySet().retainAll(keys().keys());
        List<String> adapted = writtenPaths(config, points);
        file.putAll(fileConfig(
                withPatterns(config, (setting, patterns) -> patternRule().free(patterns, adapted))));
        return file;
    }

    /** The layers as the file can name them: one by one where PEFT has no key for what is set. */
    private TargetLayers inFile(C config, Points points) {
        TargetLayers layers = resolved(config, points);
        boolean told = (layers.excludeModules() == null || keys().keys().contains(LinearKeys.EXCLUDED))
                && (layers.layersToTransform().isEmpty() || keys().keys().contains(LinearKeys.NUMBERS[0]));
        if (told) {
            return layers;
        }
        List<String> adapted = writtenPaths(config, points);
        return adapted.isEmpty() ? layers : TargetLayers.of(Targets.names(adapted));
    }

    /** The adapted layers as files for Hugging Face PEFT spell them. */
    private List<String> writtenPaths(C config, Points points) {
        UnaryOperator<String> written = PeftTensorNames.written(points);
        TargetModules modules = modules(config, points);
        return points.linears().stream()
                .filter(point -> modules.adapts(point, written.apply(point.path())))
                .map(point -> written.apply(point.path()))
                .toList();
    }

    @Override
    public Map<String, TensorData> fileTensors(C config, Adapter adapter) {
        return PeftTensors.of(adapter, PeftTensors.key(PeftKeys.MODEL, adapter));
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.empty();
    }

    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        Map<String, Tensor> changed = Merging.replacements(adapter);
        adapter.claims(LinearPoint.class).forEach((point, claims) -> Merging.linear(point, claims, points, changed));
        return changed;
    }

    @Override
    public long parameterCount(C config, Points points) {
        return elements(config, layers(config, points)) + SavedModules.elements(points, config.modulesToSave());
    }
}
