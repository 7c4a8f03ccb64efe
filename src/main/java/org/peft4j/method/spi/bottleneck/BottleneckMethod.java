package org.peft4j.method.spi.bottleneck;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SublayerPoint;

/**
 * A bottleneck behind each block's MLP (Pfeiffer et al. 2020). AdapterHub's files keep settings, head and adapter apart and pickle
 * them by default; ours are the two files that all methods here have, with tensors named {@code ….output.adapter_down.weight}.
 */
public final class BottleneckMethod implements Method<BottleneckConfig> {
    private static final ConfigKeys KEYS = ConfigKeys.of("peft4j")
            .all(PeftKeys.COMMON)
            .obeyed("reduction_factor", "activation", "dropout")
            .build();

    private static final String REFUSAL =
            "there is an activation between its two layers: no frozen weight has that effect";

    @Override
    public String name() {
        return "bottleneck";
    }

    @Override
    public String peftType() {
        return "BOTTLENECK";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public BottleneckConfig defaults() {
        return BottleneckConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("non_linearity", "activation");
    }

    @Override
    public Adapter attach(String name, BottleneckConfig config, Points points, long seed) {
        return build(name, config, points, seed).build();
    }

    private static Adapter.Builder build(String name, BottleneckConfig config, Points points, long seed) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        for (SublayerPoint point : sites(points)) {
            Bottleneck bottleneck = Bottleneck.fresh(point, config, seed);
            bottleneck.parameters().forEach(builder::parameter);
            builder.claim(point, bottleneck);
        }
        SavedModules.claim(builder, points, config.modulesToSave());
        return builder;
    }

    private static List<SublayerPoint> sites(Points points) {
        List<SublayerPoint> sites = points.all(SublayerPoint.class).stream()
                .filter(point -> point.kind() == SublayerPoint.Kind.MLP)
                .toList();
        if (sites.isEmpty()) {
            throw new IllegalArgumentException(
                    "method: nothing can be put behind the MLPs of a model of the type " + points.modelType());
        }
        return sites;
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public BottleneckConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new BottleneckConfig(
                    config.count("reduction_factor", 16),
                    activation(config),
                    config.number("dropout", 0),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static BottleneckConfig.Activation activation(PeftConfigReader config) throws MalformedFileException {
        String name = config.text("activation");
        for (BottleneckConfig.Activation activation : BottleneckConfig.Activation.values()) {
            if (word(activation).equals(name == null ? "relu" : name)) {
                return activation;
            }
        }
        throw config.wrong("activation", "must be one of [relu, gelu, swish]", name);
    }

    private static String word(BottleneckConfig.Activation activation) {
        return activation.name().toLowerCase(Locale.ROOT);
    }

    @Override
    public Adapter read(String name, BottleneckConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        Adapter.Builder builder = build(name, config, points, 0);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        return PeftTensors.filled(builder.build(), file, byPath, BottleneckMethod::key, notes);
    }

    private static String key(String path) {
        return PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, Object> fileConfig(BottleneckConfig config, Points points) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("activation", word(config.activation()));
        file.put("dropout", config.dropout());
        file.put("reduction_factor", config.reductionFactor());
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(BottleneckConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, BottleneckMethod::key);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(REFUSAL);
    }

    @Override
    public long parameterCount(BottleneckConfig config, Points points) {
        return sites(points).stream()
                        .mapToLong(point -> Bottleneck.elements(point, config))
                        .sum()
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "a small network behind each block's MLP: h + W_up act(W_down norm(h + x))";
    }

    @Override
    public String settings(BottleneckConfig config) {
        return "a bottleneck of 1/" + config.reductionFactor() + " of the width";
    }
}
