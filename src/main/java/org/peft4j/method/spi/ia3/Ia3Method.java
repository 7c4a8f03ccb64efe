package org.peft4j.method.spi.ia3;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.spi.Merging;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.InputScale;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.OutputScale;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.ops.Device;

/** (IA)³: {@code y = l ∘ (W x + b)}, or {@code y = W (l ∘ x) + b} (Liu et al. 2022; Hugging Face PEFT). */
public final class Ia3Method implements Method<Ia3Config> {
    private static final String FACTORS = ".ia3_l";
    private static final String GROUP = "ia3_l";

    /** A scaled layer, and on which side. */
    private record Site(LinearPoint point, boolean input) {
        /** PEFT's: a column [out, 1] or a row [1, in]. */
        long[] shape() {
            return input ? new long[] {1, point.in()} : new long[] {point.out(), 1};
        }

        long elements() {
            return input ? point.in() : point.out();
        }
    }

    @Override
    public String name() {
        return "ia3";
    }

    @Override
    public String peftType() {
        return "IA3";
    }

    @Override
    public Ia3Config defaults() {
        return Ia3Config.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "feedforward_modules", "feedforward");
    }

    @Override
    public Adapter attach(String name, Ia3Config config, Points points, long seed) {
        Ia3Config resolved = Ia3Targets.resolve(config, points.modelType());
        List<Site> sites = sites(resolved, points);
        if (!(config.feedforward() instanceof Targets.ModelDefault)) {
            new Ia3Targets(resolved)
                    .checkFeedforward(
                            sites.stream().map(site -> site.point().path()).toList());
        }
        return build(name, resolved, sites, points).build();
    }

    private static List<Site> sites(Ia3Config config, Points points) {
        Ia3Targets targets = new Ia3Targets(config);
        return targets.modules().linears(points).stream()
                .map(point -> new Site(point, targets.scalesInput(point.path())))
                .toList();
    }

    private static Adapter.Builder build(String name, Ia3Config config, List<Site> sites, Points points) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        for (Site site : sites) {
            Parameter factors = Parameter.of(
                    site.point().path() + FACTORS,
                    GROUP,
                    () -> torch.ones(site.shape(), Device.CPU.options(ScalarType.Float)));
            builder.parameter(factors);
            if (site.input()) {
                builder.claim(site.point(), (InputScale) () -> factors.value().view(-1));
            } else {
                builder.claim(site.point(), (OutputScale) () -> factors.value().view(-1));
            }
        }
        SavedModules.claim(builder, points, config.modulesToSave());
        return builder;
    }

    @Override
    public ConfigKeys keys() {
        return Ia3Files.KEYS;
    }

    @Override
    public Ia3Config readConfig(AdapterFile file) throws MalformedFileException {
        return Ia3Files.read(file);
    }

    @Override
    public Ia3Config respelled(Ia3Config config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        Ia3Config resolved = Ia3Targets.resolve(config, points.modelType());
        Ia3Targets targets = new Ia3Targets(resolved);
        boolean same = points.linears().stream()
                .allMatch(point -> means(targets, point, from).equals(means(targets, point, to)));
        if (same) {
            return config;
        }
        List<String> scaled = new ArrayList<>();
        List<String> inputs = new ArrayList<>();
        for (LinearPoint point : points.linears()) {
            String path = to.apply(point.path());
            if (targets.modules().adapts(point, from.apply(point.path()))) {
                scaled.add(path);
                if (targets.scalesInput(from.apply(point.path()))) {
                    inputs.add(path);
                }
            }
        }
        return scaled.isEmpty()
                ? config
                : new Ia3Config(
                        Targets.names(scaled),
                        inputs.isEmpty() ? null : Targets.names(inputs),
                        null,
                        config.modulesToSave());
    }

    /** What the settings mean for a layer. */
    private static List<Boolean> means(Ia3Targets targets, LinearPoint point, UnaryOperator<String> spelled) {
        String path = spelled.apply(point.path());
        return List.of(targets.modules().adapts(point, path), targets.scalesInput(path));
    }

    @Override
    public Adapter read(String name, Ia3Config config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        PeftTensors.noteTransposed(file, points, notes);
        Ia3Config resolved = Ia3Targets.resolve(config, points.modelType());
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        List<Site> sites = sites(resolved, file, byPath, points);
        new Ia3Targets(resolved)
                .modules()
                .noteUnused(
                        points.linears().stream().map(LinearPoint::path).toList(),
                        sites.stream().map(site -> site.point().path()).toList(),
                        notes);
        Adapter.Builder builder = build(name, config, sites, points);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        Adapter adapter = builder.build();
        return PeftTensors.filled(adapter, file, byPath, key(adapter), notes);
    }

    /** Where the config's targets are, and where the file has factors although they are not; the config says on which side. */
    private static List<Site> sites(Ia3Config config, AdapterFile file, Map<String, TensorData> byPath, Points points)
            throws MalformedFileException {
        for (Map.Entry<String, TensorData> entry : byPath.entrySet()) {
            String path = entry.getKey();
            if (path.endsWith(FACTORS) && points.linear(path.substring(0, path.length() - FACTORS.length())) == null) {
                throw PeftTensors.malformed(
                        file,
                        "tensor " + entry.getValue().name() + " scales a linear layer that " + points.architecture()
                                + " does not have");
            }
        }
        Ia3Targets targets = new Ia3Targets(config);
        List<Site> sites = points.linears().stream()
                .filter(point -> targets.modules().adapts(point) || byPath.containsKey(point.path() + FACTORS))
                .map(point -> new Site(point, targets.scalesInput(point.path())))
                .toList();
        if (sites.isEmpty()) {
            throw PeftTensors.malformed(
                    file, "has no tensor named " + PeftKeys.MODEL + "…" + FACTORS + PeftTensors.has(file));
        }
        return sites;
    }

    private static UnaryOperator<String> key(Adapter adapter) {
        return PeftTensors.key(PeftKeys.MODEL, adapter);
    }

    @Override
    public Map<String, Object> fileConfig(Ia3Config config, Points points) {
        return Ia3Files.write(Ia3Targets.resolve(config, points.modelType()));
    }

    @Override
    public Map<String, TensorData> fileTensors(Ia3Config config, Adapter adapter) {
        return PeftTensors.of(adapter, key(adapter));
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.empty();
    }

    /** {@code diag(l) W} and {@code l ∘ b}, or {@code W diag(l)}. */
    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        Map<String, Tensor> changed = Merging.replacements(adapter);
        adapter.claims(LinearPoint.class).forEach((point, claims) -> Merging.linear(point, claims, points, changed));
        return changed;
    }

    @Override
    public long parameterCount(Ia3Config config, Points points) {
        return sites(Ia3Targets.resolve(config, points.modelType()), points).stream()
                        .mapToLong(Site::elements)
                        .sum()
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "factors of linear layers' outputs, and of the MLP's last input: y = l ∘ (W x + b)";
    }

    @Override
    public String settings(Ia3Config config) {
        return "the model's usual targets";
    }
}
