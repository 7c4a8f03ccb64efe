package org.peft4j.method.spi.miss;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.miss.MissConfig;
import org.peft4j.method.miss.MissVariant;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;

/** MiSS (Kang and Yin 2024; Hugging Face PEFT): {@code y = W x + b + B (sum of x's blocks)}, and its variants. */
public final class MissMethod extends LinearMethod<MissConfig> {
    private static final String B = "miss_block";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "mini_r", "miss_dropout", "init_weights")
            .only("bias", List.of("none"), "biases would be trained, too")
            .build();

    @Override
    public String name() {
        return "miss";
    }

    @Override
    public String peftType() {
        return "MISS";
    }

    @Override
    public MissConfig defaults() {
        return MissConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "miss_dropout", "dropout", "init_weights", "variant");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(B);
    }

    @Override
    protected void adapt(MissConfig config, AdaptedLayers layers) {
        for (AdaptedLayers.Layer layer : layers.all()) {
            check(config, layer);
            long[] shape = shape(config, layer.out());
            Parameter block = layer.trained(B, (seed, path) -> Tensors.zeros(shape));
            if (config.variant() == MissVariant.BAT) {
                layer.claim(new BlockProduct(layer::weight, block));
            } else {
                long in = layer.in();
                Tensor a = layers.shared("miss_A." + in, () -> ones(config.r(), in), config.r(), in);
                layer.claim(new BlockSum(a, block, layer.out(), config.dropout()));
            }
        }
    }

    private static void check(MissConfig config, AdaptedLayers.Layer layer) {
        int r = config.r();
        if (r > layer.in()) {
            throw new IllegalArgumentException(
                    "r must be at most the " + layer.in() + " inputs of " + layer.path() + ", got " + r);
        }
        if (config.variant() == MissVariant.BAT && (layer.in() % r != 0 || layer.out() % r != 0)) {
            throw new IllegalArgumentException("r must divide the " + layer.in() + " inputs and " + layer.out()
                    + " outputs of " + layer.path() + " for the variant bat, got " + r);
        }
        if (config.variant() == MissVariant.MINI && layer.out() % config.miniR() != 0) {
            throw new IllegalArgumentException("miniR must divide the " + layer.out() + " outputs of " + layer.path()
                    + " for the variant mini, got " + config.miniR());
        }
    }

    private static long[] shape(MissConfig config, long out) {
        long r = config.r();
        return switch (config.variant()) {
            case PLAIN -> new long[] {r, out};
            case BAT -> new long[] {out / r, r, r};
            case MINI -> new long[] {r, config.miniR()};
        };
    }

    private static Tensor ones(int r, long in) {
        float[] values = new float[Math.toIntExact(r * in)];
        for (int i = 0; i < in; i++) {
            values[Math.toIntExact(i % r * in + i)] = 1;
        }
        return Tensors.ofFloats(values, r, in);
    }

    @Override
    protected long elements(MissConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer -> {
                    long n = 1;
                    for (long size : shape(config, layer.out())) {
                        n *= size;
                    }
                    return n;
                })
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public MissConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new MissConfig(
                    config.count("r", 64),
                    config.count("mini_r", 1),
                    variant(config),
                    config.number("miss_dropout", 0),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    /** True and false differ in how B began, which the file's tensors replace. */
    private static MissVariant variant(PeftConfigReader config) throws MalformedFileException {
        Object value = config.get("init_weights");
        if (value == null || value instanceof Boolean) {
            return MissVariant.PLAIN;
        }
        if (value.equals("bat")) {
            return MissVariant.BAT;
        }
        if (value.equals("mini")) {
            return MissVariant.MINI;
        }
        throw config.wrong("init_weights", "must be true, false, \"bat\" or \"mini\"", value);
    }

    @Override
    protected Map<String, Object> fileConfig(MissConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bias", "none");
        file.put(
                "init_weights",
                switch (config.variant()) {
                    case PLAIN -> (Object) true;
                    case BAT -> "bat";
                    case MINI -> "mini";
                });
        file.put("mini_r", config.miniR());
        file.put("miss_dropout", config.dropout());
        file.put("r", config.r());
        return file;
    }

    @Override
    public String summary() {
        return "a matrix B that the sum of a layer's blocks of inputs reads: y = W x + b + B Σ x_block";
    }

    @Override
    public String settings(MissConfig config) {
        return "r " + config.r() + ", the model's usual targets";
    }
}
