package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.PeftType;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;
import org.peft4j.method.lora.LoraTargets;
import org.peft4j.method.spi.AdapterNames;
import org.peft4j.method.spi.FileTensors;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.Init;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;

/** LoRA and rsLoRA: {@code y = W x + scale · B A dropout(x)} at linear layers (Hu et al. 2021; Hugging Face PEFT). */
public final class LoraMethod implements Method<LoraConfig> {
    private static final String A = ".lora_A.weight";
    private static final String B = ".lora_B.weight";

    private static final String EMBEDDING_A = ".lora_embedding_A";
    private static final String OTHER_RANK = ", the adapter's config says ";

    /** Where an adapter applies: the layer, and its rank there. */
    private record Site(LinearPoint point, int rank, double scale) {}

    @Override
    public PeftType type() {
        return PeftType.LORA;
    }

    @Override
    public Class<LoraConfig> configType() {
        return LoraConfig.class;
    }

    @Override
    public Adapter attach(String name, LoraConfig config, Points points, long seed) {
        LoraConfig resolved = LoraTargets.resolve(config, points.modelType());
        List<Site> sites = sites(resolved, points);
        return build(name, resolved, sites, points, seed).build();
    }

    private static List<Site> sites(LoraConfig config, Points points) {
        LoraLayers layers = new LoraLayers(config);
        boolean allLinear = config.targets() instanceof Targets.AllLinear;
        List<Site> sites = new ArrayList<>();
        for (LinearPoint point : points.linears()) {
            String path = point.path();
            if (!(allLinear && point.head()) && layers.adapts(path)) {
                sites.add(new Site(point, layers.rank(path), layers.scale(path)));
            }
        }
        checkTargets(config, points, sites);
        return sites;
    }

    // Each name in a list has to match a layer by itself: a misspelt one must not hide behind the others.
    private static void checkTargets(LoraConfig config, Points points, List<Site> sites) {
        Targets targets = config.targets();
        List<String> paths = points.linears().stream().map(LinearPoint::path).toList();
        List<String> unmatched = targets.unmatched(paths);
        if (!unmatched.isEmpty()) {
            throw new IllegalArgumentException(Targets.names(unmatched).noMatch(paths));
        }
        if (sites.isEmpty()) {
            throw new IllegalArgumentException(
                    paths.stream().anyMatch(targets::matches)
                            ? "targets '" + targets.toTree() + "' match linear layers of " + points.architecture()
                                    + ", but exclude_modules and layers_to_transform leave none of them"
                            : targets.noMatch(paths));
        }
    }

    private static Adapter.Builder build(String name, LoraConfig config, List<Site> sites, Points points, long seed) {
        Adapter.Builder builder = Adapter.builder(name);
        for (Site site : sites) {
            String path = site.point().path();
            long in = site.point().in();
            Parameter a = Parameter.of(path + A, "lora_A", () -> switch (config.init()) {
                case KAIMING -> Init.kaiming(seed, path + A, site.rank(), in);
                case GAUSSIAN -> Init.normal(seed, path + A, 1.0 / site.rank(), site.rank(), in);
            });
            Parameter b = Parameter.of(
                    path + B, "lora_B", () -> Tensors.zeros(site.point().out(), site.rank()));
            builder.parameter(a).parameter(b);
            builder.claim(site.point(), LowRank.of(a, b, site.scale(), config.dropout()));
        }
        for (TensorPoint bias : biases(config, sites, points)) {
            if (!builder.claims(bias)) {
                builder.claim(bias, SavedModules.copy(bias, "bias"));
            }
        }
        SavedModules.claim(builder, points, config.modulesToSave());
        return builder;
    }

    private static List<TensorPoint> biases(LoraConfig config, List<Site> sites, Points points) {
        List<TensorPoint> biases = new ArrayList<>();
        switch (config.bias()) {
            case NONE -> {}
            case ALL ->
                points.tensors().forEach((path, point) -> {
                    if (path.endsWith(".bias")) {
                        biases.add(point);
                    }
                });
            case LORA_ONLY ->
                sites.forEach(site -> {
                    TensorPoint bias = points.tensors().get(site.point().path() + ".bias");
                    if (bias != null) {
                        biases.add(bias);
                    }
                });
        }
        return biases;
    }

    @Override
    public ConfigKeys keys() {
        return LoraKeys.TABLE;
    }

    @Override
    public LoraConfig readConfig(AdapterFile file) throws MalformedFileException {
        return LoraFiles.read(file);
    }

    @Override
    public Adapter read(String name, LoraConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        LoraFiles.noteTransposed(file, notes);
        Map<String, TensorData> byPath = AdapterNames.byPath(file, LoraFiles.PREFIX, points);
        List<Site> sites = sites(config, file, byPath, points, notes);
        if (config.targets() instanceof Targets.Names names) {
            LoraLayers layers = new LoraLayers(config);
            for (String target : names.names()) {
                Targets one = Targets.names(target);
                boolean meant = points.linears().stream()
                        .filter(point -> one.matches(point.path()))
                        .allMatch(point -> layers.adapts(point.path())); // or matches nothing
                if (meant
                        && sites.stream()
                                .noneMatch(site -> one.matches(site.point().path()))) {
                    notes.add("target '" + target + "' of the adapter's config has no tensors in its file");
                }
            }
        }
        Adapter.Builder builder = build(name, config, sites, points, 0);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        Adapter adapter = builder.build();
        try {
            FileTensors.load(adapter, file, byPath, key(adapter.lowRanks().keySet()), notes);
        } catch (RuntimeException e) {
            adapter.close();
            throw e;
        }
        return adapter;
    }

    /** Where the file has tensors of LoRA; they count, whatever the config says of targets and ranks. */
    private static List<Site> sites(
            LoraConfig config, AdapterFile file, Map<String, TensorData> byPath, Points points, List<String> notes)
            throws MalformedFileException {
        LoraLayers layers = new LoraLayers(LoraTargets.resolve(config, points.modelType()));
        List<Site> sites = new ArrayList<>();
        for (Map.Entry<String, TensorData> entry : byPath.entrySet()) {
            String tensor = "tensor " + entry.getValue().name();
            if (entry.getKey().endsWith(EMBEDDING_A)) {
                throw FileTensors.malformed(
                        file, tensor + " adapts an embedding table; LoRA is supported on linear layers alone");
            }
            if (!entry.getKey().endsWith(A)) {
                continue;
            }
            String path = entry.getKey().substring(0, entry.getKey().length() - A.length());
            LinearPoint point = points.linear(path);
            List<Long> shape = entry.getValue().shape();
            if (point == null) {
                throw FileTensors.malformed(
                        file, tensor + " adapts a linear layer that " + points.architecture() + " does not have");
            }
            if (byPath.containsKey(path + ".weight")) {
                throw FileTensors.malformed(
                        file,
                        tensor + " adapts a weight that the file replaces too, by "
                                + byPath.get(path + ".weight").name() + "; only one of them is supported");
            }
            if (shape.size() != 2 || shape.get(0) < 1 || shape.get(0) > LoraConfig.MAX_RANK) {
                throw FileTensors.malformed(file, tensor + " must have shape [r, " + point.in() + "], has " + shape);
            }
            int rank = shape.get(0).intValue();
            if (rank != layers.rank(path) && notes.stream().noneMatch(note -> note.contains(OTHER_RANK))) {
                notes.add(tensor + " has rank " + rank + OTHER_RANK + layers.rank(path) + "; the tensors count");
            }
            double alpha = layers.alpha(path);
            sites.add(new Site(point, rank, alpha / (config.rslora() ? Math.sqrt(rank) : rank)));
        }
        if (sites.isEmpty()) {
            throw FileTensors.malformed(
                    file, "has no tensor named " + LoraFiles.PREFIX + "….lora_A.weight" + FileTensors.has(file));
        }
        return sites;
    }

    private static UnaryOperator<String> key(Set<String> adapted) {
        return path -> LoraFiles.key(path, adapted);
    }

    @Override
    public Map<String, Object> fileConfig(LoraConfig config, Points points) {
        LoraConfig resolved = LoraTargets.resolve(config, points.modelType());
        LoraLayers layers = new LoraLayers(resolved);
        return LoraFiles.write(
                resolved,
                points.linears().stream()
                        .map(LinearPoint::path)
                        .filter(layers::adapts)
                        .toList());
    }

    @Override
    public Map<String, TensorData> fileTensors(LoraConfig config, Adapter adapter) {
        return FileTensors.of(adapter, key(adapter.lowRanks().keySet()));
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.empty();
    }

    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        Map<String, Tensor> changed = new LinkedHashMap<>();
        adapter.replacements().forEach((path, parameter) -> {
            Tensor value = parameter.value().detach().clone();
            checkFinite(path, value);
            changed.put(path, value);
        });
        adapter.lowRanks().forEach((path, claim) -> {
            TensorPoint weight = points.tensors().get(path + ".weight");
            if (weight == null) {
                throw new IllegalStateException("the model has no weight " + path + ".weight to merge into");
            }
            changed.put(path + ".weight", Scopes.scoped(() -> merge(path, weight.value(), claim)));
        });
        return changed;
    }

    private static Tensor merge(String path, Tensor weight, LowRank claim) {
        Tensor delta = claim.b().detach().matmul(claim.a().detach()).mul(new Scalar(claim.scale()));
        Tensor merged = weight.to(ScalarType.Float).add(delta);
        checkFinite(path + ".weight", merged);
        return merged;
    }

    private static void checkFinite(String path, Tensor merged) {
        if (!merged.isfinite().all().item_bool()) {
            throw new IllegalStateException("merging would put values that are not finite into " + path);
        }
    }

    @Override
    public long parameterCount(LoraConfig config, Points points) {
        LoraConfig resolved = LoraTargets.resolve(config, points.modelType());
        List<Site> sites = sites(resolved, points);
        Set<String> whole = new LinkedHashSet<>(
                SavedModules.of(points, config.modulesToSave()).keySet());
        biases(resolved, sites, points).forEach(bias -> whole.add(bias.path()));
        long count = 0;
        for (Site site : sites) {
            count += site.rank() * (site.point().in() + site.point().out());
        }
        for (String path : whole) {
            count += points.tensors().get(path).value().numel();
        }
        return count;
    }

    @Override
    public String summary() {
        return "A and B of rank r at linear layers: y = W x + scale · B A x";
    }
}
