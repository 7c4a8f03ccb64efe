package org.peft4j.method.spi.road;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.road.RoadConfig;
import org.peft4j.method.road.RoadVariant;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/** RoAd (Liao and Monz 2024; Hugging Face PEFT): pairs of outputs, bias included, are turned and multiplied. */
public final class RoadMethod extends LinearMethod<RoadConfig> {
    private static final String THETA = "road_theta";
    private static final String ALPHA = "road_alpha";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed("variant", "group_size")
            .harmless("how angles and factors began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "road";
    }

    @Override
    public String peftType() {
        return "ROAD";
    }

    @Override
    public RoadConfig defaults() {
        return RoadConfig.defaults();
    }

    @Override
    protected List<String> suffixes() {
        return List.of(THETA, ALPHA);
    }

    @Override
    protected void adapt(RoadConfig config, AdaptedLayers layers) {
        for (AdaptedLayers.Layer layer : layers.all()) {
            if (layer.out() % config.groupSize() != 0) {
                throw new IllegalArgumentException("groupSize must divide the " + layer.out() + " outputs of "
                        + layer.path() + ", got " + config.groupSize());
            }
            long size = config.variant().size(layer.out());
            Parameter theta = layer.trained(THETA, (seed, path) -> Tensors.zeros(size));
            Parameter alpha = layer.trained(
                    ALPHA, (seed, path) -> torch.ones(new long[] {size}, Device.CPU.options(ScalarType.Float)));
            layer.claim(new PairRotation(config.variant(), config.groupSize(), theta, alpha));
        }
    }

    @Override
    protected long elements(RoadConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer -> 2 * config.variant().size(layer.out()))
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public RoadConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new RoadConfig(
                    variant(config),
                    config.count("group_size", 64),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static RoadVariant variant(PeftConfigReader config) throws MalformedFileException {
        String name = config.text("variant");
        if (name == null) {
            return RoadVariant.ROAD_1;
        }
        for (RoadVariant variant : RoadVariant.values()) {
            if (name.equals(variant.fileName())) {
                return variant;
            }
        }
        throw config.wrong("variant", "must be road_1, road_2 or road_4", name);
    }

    @Override
    protected Map<String, Object> fileConfig(RoadConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("group_size", config.groupSize());
        file.put("init_weights", true);
        file.put("variant", config.variant().fileName());
        return file;
    }

    @Override
    public String summary() {
        return "angles θ and factors α of pairs of outputs: (C y₁ - S y₂, C y₂ + S y₁), C = α cos θ, S = α sin θ";
    }

    @Override
    public String settings(RoadConfig config) {
        return config.variant().fileName() + ", the model's usual targets";
    }
}
