package org.peft4j.method.spi.bottleneck;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.Dropout;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SublayerPoint;

/**
 * AdapterFusion (Pfeiffer et al. 2021): an attention at each sublayer mixes what frozen bottleneck adapters add there. In files the
 * experts are adapters of their own, in folders 0, 1, … of the adapter's directory; tensors are named
 * {@code ….output.adapter_fusion_layer.query.weight}.
 */
public final class FusionMethod implements Method<FusionConfig> {
    @Override
    public String name() {
        return "fusion";
    }

    @Override
    public String peftType() {
        return "ADAPTER_FUSION";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public FusionConfig defaults() {
        return FusionConfig.defaults();
    }

    @Override
    public Map<String, FusionConfig> namedSettings() {
        Map<String, FusionConfig> named = new LinkedHashMap<>();
        named.put("dynamic", FusionConfig.defaults());
        named.put("static", FusionConfig.withoutValue());
        return named;
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("dropout_prob", "dropout");
    }

    @Override
    public Adapter attach(String name, FusionConfig config, Points points, long seed) {
        checkAdapters(config);
        Dropout.check("dropout", config.dropout());
        FusionExperts experts = FusionExperts.of(FusionExperts.files(config.adapters()), points);
        return build(name, config, experts, points, seed).build();
    }

    private static void checkAdapters(FusionConfig config) {
        if (config.adapters().isEmpty()) {
            throw new IllegalArgumentException(
                    "adapters must name at least one bottleneck adapter, by a name and its directory");
        }
    }

    /** @param experts will be the adapter's */
    private static Adapter.Builder build(
            String name, FusionConfig config, FusionExperts experts, Points points, long seed) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        try {
            List<FusionLayer> layers = new ArrayList<>();
            for (SublayerPoint point : experts.sites()) {
                FusionLayer layer = FusionLayer.fresh(point, config, seed);
                layer.parameters().forEach(builder::parameter);
                builder.claim(point, new Fused(experts.names(), experts.at(point), layer, config.queryBeforeLn()));
                layers.add(layer);
            }
            builder.hook(new Fusion(experts, config.regularization() ? layers : List.of()));
            SavedModules.claim(builder, points, config.modulesToSave());
            return builder;
        } catch (RuntimeException e) {
            builder.discard();
            experts.close(); // twice does nothing
            throw e;
        }
    }

    @Override
    public ConfigKeys keys() {
        return FusionFiles.KEYS;
    }

    @Override
    public FusionConfig readConfig(AdapterFile file) throws MalformedFileException {
        return FusionFiles.read(file);
    }

    @Override
    public Adapter read(String name, FusionConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        FusionExperts experts = experts(file, points);
        experts.all()
                .forEach(one -> one.notes()
                        .forEach(note -> notes.add("expert '" + one.adapter().name() + "': " + note)));
        Adapter.Builder builder = build(name, config, experts, points, 0);
        try {
            SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
        return PeftTensors.filled(builder.build(), file, byPath, FusionMethod::key, notes);
    }

    private static FusionExperts experts(AdapterFile file, Points points) {
        try {
            return FusionExperts.of(FusionFiles.named(file), points);
        } catch (ConfigException e) {
            throw new MalformedFileException(file.directory(), -1, String.valueOf(e.getMessage()), e);
        }
    }

    private static String key(String path) {
        return PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, Object> fileConfig(FusionConfig config, Points points) {
        return FusionFiles.write(config);
    }

    @Override
    public Map<String, TensorData> fileTensors(FusionConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, FusionMethod::key);
    }

    @Override
    public List<AdapterStore.Loaded> inside(Adapter adapter) {
        return Fusion.of(adapter).orElseThrow().experts();
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of("each row has shares of its own for the experts, which have an activation between their two"
                + " layers: no frozen weight has that effect");
    }

    @Override
    public long parameterCount(FusionConfig config, Points points) {
        checkAdapters(config);
        return FusionExperts.sites(config.adapters(), points).stream()
                        .mapToLong(point -> FusionLayer.elements(point, config))
                        .sum()
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "an attention at each sublayer that mixes what frozen bottleneck adapters add there, row by row";
    }

    @Override
    public String settings(FusionConfig config) {
        return config.adapters().size() + " experts, " + (config.value() ? "dynamic" : "static");
    }
}
