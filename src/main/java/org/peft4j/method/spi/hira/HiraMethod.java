package org.peft4j.method.spi.hira;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.hira.HiraConfig;
import org.peft4j.method.hira.InitHira;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;

/** HiRA (Huang et al. 2025; Hugging Face PEFT): {@code y = W x + (W ∘ (B A)) x}. */
public final class HiraMethod extends LinearMethod<HiraConfig> {
    private static final String A = "hira_A";
    private static final String B = "hira_B";
    private static final String OF_TABLES = "hira_embedding_";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "hira_dropout", "init_weights")
            .told("rank_pattern", ConfigKeys::isUnset, "PEFT gives every layer the rank r, too")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .build();

    @Override
    public String name() {
        return "hira";
    }

    @Override
    public String peftType() {
        return "HIRA";
    }

    @Override
    public HiraConfig defaults() {
        return HiraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "hira_dropout", "dropout", "init_weights", "init");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(A, B);
    }

    @Override
    protected void adapt(HiraConfig config, AdaptedLayers layers) {
        long r = config.r();
        for (AdaptedLayers.Layer layer : layers.all()) {
            Parameter a = layer.trained(
                    A,
                    (seed, path) -> config.init() == InitHira.GAUSSIAN
                            ? Init.normal(seed, path, 1.0 / r, r, layer.in())
                            : Init.kaiming(seed, path, r, layer.in()));
            Parameter b = layer.trained(B, (seed, path) -> Tensors.zeros(layer.out(), r));
            layer.claim(new Update(layer, a, b, config.dropout()));
        }
    }

    /** The frozen weight, element by element. */
    private record Update(AdaptedLayers.Layer layer, Parameter a, Parameter b, double dropout) implements WeightDelta {
        @Override
        public Tensor matrix() {
            return b.value().matmul(a.value()).mul(layer.weight());
        }
    }

    @Override
    protected void removeCopies(AdapterFile file, Map<String, TensorData> byPath) throws MalformedFileException {
        for (Map.Entry<String, TensorData> entry : byPath.entrySet()) {
            if (entry.getKey().contains("." + OF_TABLES)) {
                throw PeftTensors.malformed(
                        file,
                        "tensor " + entry.getValue().name() + " adapts an embedding table; only HiRA of linear layers"
                                + " is supported: leave the table out of target_modules");
            }
        }
    }

    @Override
    protected long elements(HiraConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer -> config.r() * (layer.in() + layer.out()))
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public HiraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new HiraConfig(
                    config.count("r", 32),
                    config.number("hira_dropout", 0),
                    init(config),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static InitHira init(PeftConfigReader config) throws MalformedFileException {
        Object value = config.get("init_weights");
        if (value == null || value instanceof Boolean) {
            return InitHira.KAIMING;
        }
        if ("gaussian".equalsIgnoreCase(String.valueOf(value))) {
            return InitHira.GAUSSIAN;
        }
        throw config.wrong("init_weights", "must be true, false or gaussian", value);
    }

    @Override
    protected Map<String, Object> fileConfig(HiraConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("fan_in_fan_out", false);
        file.put("hira_dropout", config.dropout());
        file.put("init_weights", config.init() == InitHira.GAUSSIAN ? "gaussian" : true);
        file.put("r", config.r());
        file.put("rank_pattern", Map.of());
        return file;
    }

    @Override
    public String summary() {
        return "A and B of rank r that multiply the frozen weight element by element: y = W x + (W ∘ (B A)) x";
    }

    @Override
    public String settings(HiraConfig config) {
        return "r " + config.r() + ", the model's usual targets";
    }
}
