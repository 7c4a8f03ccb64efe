package org.peft4j.method.spi.hra;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.hra.HraConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.FirstValues;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.LinearPoint;

/** HRA (Yuan et al. 2024; Hugging Face PEFT): {@code y = W H₁ … H_r x + b} with reflections H_i. */
public final class HraMethod extends LinearMethod<HraConfig> {
    private static final String U = "hra_u";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "apply_GS")
            .only("bias", List.of("none"), "biases would be trained, too")
            .harmless("how the vectors began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "hra";
    }

    @Override
    public String peftType() {
        return "HRA";
    }

    @Override
    public HraConfig defaults() {
        return HraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "apply_GS", "apply_gs");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(U);
    }

    @Override
    protected void adapt(HraConfig config, AdaptedLayers layers) {
        int r = config.r();
        if (!layers.read() && !config.applyGs() && r % 2 != 0) {
            throw new IllegalArgumentException("r must be even, so that the first vectors cancel in pairs, got " + r);
        }
        for (AdaptedLayers.Layer layer : layers.all()) {
            if (r > layer.in()) {
                throw new IllegalArgumentException(
                        "r must be at most the " + layer.in() + " inputs of " + layer.path() + ", got " + r);
            }
            layer.claim(new Reflections(
                    layer.trained(U, config.applyGs() ? different(layer.in(), r) : inPairs(layer.in(), r)),
                    config.applyGs()));
        }
    }

    private static FirstValues different(long in, long r) {
        return (seed, path) -> Init.kaiming(seed, path, in, r);
    }

    /** Each vector twice, side by side. */
    private static FirstValues inPairs(long in, long r) {
        return (seed, path) -> {
            Tensor half = Init.kaiming(seed, path, in, (r + 1) / 2);
            return half.unsqueeze(2).expand(in, (r + 1) / 2, 2).reshape(in, -1).narrow(1, 0, r);
        };
    }

    @Override
    protected long elements(HraConfig config, List<LinearPoint> layers) {
        return layers.stream().mapToLong(layer -> config.r() * layer.in()).sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public HraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new HraConfig(
                    config.count("r", 8),
                    config.flag("apply_GS"),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(HraConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("apply_GS", config.applyGs());
        file.put("bias", "none");
        file.put("init_weights", true);
        file.put("r", config.r());
        return file;
    }

    @Override
    public String summary() {
        return "vectors u at which what a layer reads is mirrored: y = W (I - 2 u₁u₁ᵀ) … (I - 2 u_r u_rᵀ) x + b";
    }

    @Override
    public String settings(HraConfig config) {
        return "r " + config.r() + ", the model's usual targets";
    }
}
