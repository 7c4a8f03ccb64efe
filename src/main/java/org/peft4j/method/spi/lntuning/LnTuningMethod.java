package org.peft4j.method.spi.lntuning;

import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.lntuning.LnTuningConfig;
import org.peft4j.method.spi.Merging;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.TargetModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;

/** LN tuning (Zhao et al. 2023; Hugging Face PEFT): a parameter in the place of each tensor of the norms. */
public final class LnTuningMethod implements Method<LnTuningConfig> {
    /** What files have between a norm's path and its tensor, and the parameters' group. */
    private static final String COPY = "ln_tuning_layers";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed("target_modules", "exclude_modules")
            .build();

    @Override
    public String name() {
        return "ln-tuning";
    }

    @Override
    public String peftType() {
        return "LN_TUNING";
    }

    @Override
    public LnTuningConfig defaults() {
        return LnTuningConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets");
    }

    @Override
    public Adapter attach(String name, LnTuningConfig config, Points points, long seed) {
        return build(name, config, tensors(points, meant(config, points)), points)
                .build();
    }

    private static Adapter.Builder build(String name, LnTuningConfig config, List<TensorPoint> tensors, Points points) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        try {
            for (TensorPoint tensor : tensors) {
                if (tensor.fixed() || tensor.transposed()) {
                    throw new IllegalArgumentException("targets must mean norms, and " + module(tensor.path())
                            + (tensor.fixed()
                                    ? " is of an expert of a mixture, which stays frozen"
                                    : " is a linear layer that files have transposed; name it in modules_to_save"));
                }
                builder.claim(tensor, copy(tensor));
            }
            SavedModules.claim(builder, points, config.modulesToSave());
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
        return builder;
    }

    /** Begins with the tensor's values; its path is that of PEFT's copy of the module. */
    private static Parameter copy(TensorPoint tensor) {
        String path = tensor.path();
        return Parameter.of(
                module(path) + "." + COPY + path.substring(path.lastIndexOf('.')),
                COPY,
                () -> tensor.value().to(ScalarType.Float));
    }

    private static TargetModules modules(LnTuningConfig config, Points points) {
        return new TargetModules(
                UsualNorms.resolve(config.targets(), points.modelType()),
                config.excludeModules(),
                config.modulesToSave());
    }

    /** The modules that have tensors of their own: norms above all. */
    private static List<String> candidates(Points points) {
        return points.tensors().keySet().stream()
                .map(LnTuningMethod::module)
                .distinct()
                .toList();
    }

    private static List<String> meant(LnTuningConfig config, Points points) {
        return modules(config, points).of(candidates(points), path -> path);
    }

    private static String module(String tensor) {
        return tensor.substring(0, Math.max(0, tensor.lastIndexOf('.')));
    }

    private static List<TensorPoint> tensors(Points points, List<String> modules) {
        Set<String> wanted = new LinkedHashSet<>(modules);
        return points.tensors().values().stream()
                .filter(tensor -> wanted.contains(module(tensor.path())))
                .toList();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public LnTuningConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            Targets targets = config.targets("target_modules");
            return new LnTuningConfig(
                    targets == null ? Targets.modelDefault() : targets,
                    config.targets("exclude_modules"),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public LnTuningConfig respelled(
            LnTuningConfig config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        TargetModules modules = modules(config, points);
        List<String> all = candidates(points);
        boolean same =
                all.stream().allMatch(path -> modules.matches(from.apply(path)) == modules.matches(to.apply(path)));
        List<String> meant = all.stream()
                .filter(path -> modules.matches(from.apply(path)))
                .map(to)
                .toList();
        return same || meant.isEmpty()
                ? config
                : new LnTuningConfig(Targets.names(meant), null, config.modulesToSave());
    }

    @Override
    public Adapter read(String name, LnTuningConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        Set<String> copied = new LinkedHashSet<>();
        for (String path : byPath.keySet()) {
            if (module(path).endsWith("." + COPY)) {
                copied.add(module(module(path)));
            }
        }
        if (copied.isEmpty()) {
            throw PeftTensors.malformed(
                    file, "has no tensor named " + PeftKeys.MODEL + "…." + COPY + ".weight" + PeftTensors.has(file));
        }
        TargetModules modules = modules(config, points);
        List<String> used = candidates(points).stream()
                .filter(path -> copied.contains(path) || path.startsWith(points.backbone()) && modules.matches(path))
                .toList();
        modules.noteUnused(candidates(points), used, notes);
        Adapter.Builder builder = build(name, config, tensors(points, used), points);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        Adapter adapter = builder.build();
        return PeftTensors.filled(adapter, file, byPath, LnTuningMethod::key, notes);
    }

    private static String key(String path) {
        return PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, Object> fileConfig(LnTuningConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        Targets excluded = config.excludeModules();
        file.put("exclude_modules", excluded == null ? null : excluded.toTree());
        file.put(
                "target_modules",
                UsualNorms.resolve(config.targets(), points.modelType()).toTree());
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(LnTuningConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, LnTuningMethod::key);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.empty();
    }

    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        return Merging.replacements(adapter);
    }

    @Override
    public long parameterCount(LnTuningConfig config, Points points) {
        return SavedModules.elements(points, config.modulesToSave(), tensors(points, meant(config, points)));
    }

    @Override
    public String summary() {
        return "the norms, as a whole";
    }

    @Override
    public String settings(LnTuningConfig config) {
        return config.targets() instanceof Targets.ModelDefault
                ? "the model's usual norms"
                : "targets " + config.targets().toTree();
    }
}
