package org.peft4j.method.spi.vera;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Targets;
import org.peft4j.method.UsualTargets;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.TorchRandom;
import org.peft4j.method.vera.VeraConfig;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/** VeRA (Kopiczko et al. 2023; Hugging Face PEFT): {@code y = W x + b ∘ (B (d ∘ (A x)))} with A and B that all layers share. */
public final class VeraMethod extends LinearMethod<VeraConfig> {
    private static final String D = "vera_lambda_d";
    private static final String B = "vera_lambda_b";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "projection_prng_key", "save_projection", "vera_dropout", "d_initial")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .only("bias", List.of("none"), "biases would be trained, too")
            .harmless("how the vectors began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "vera";
    }

    @Override
    public String peftType() {
        return "VERA";
    }

    @Override
    public VeraConfig defaults() {
        return VeraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "vera_dropout", "dropout");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(D, B);
    }

    @Override
    protected Targets usual(Targets targets, String modelType) {
        return targets instanceof Targets.ModelDefault && modelType.equals("phi")
                ? Targets.names("q_proj", "v_proj") // LoRA has those of the MLP, too
                : UsualTargets.resolve(targets, modelType);
    }

    @Override
    protected void adapt(VeraConfig config, AdaptedLayers layers) {
        long r = config.r();
        long in = layers.mostIn();
        long out = layers.mostOut();
        try (TorchRandom random = new TorchRandom(config.projection().projectionPrngKey())) { // A is drawn before B
            Tensor a = layers.constant(
                    "vera_A", config.projection().saveProjection(), () -> kaiming(random, r, in), r, in);
            Tensor b = layers.constant(
                    "vera_B", config.projection().saveProjection(), () -> kaiming(random, out, r), out, r);
            for (AdaptedLayers.Layer layer : layers.all()) {
                Parameter d = layer.trained(
                        D,
                        (seed, path) -> torch.full(
                                new long[] {r}, new Scalar(config.dInitial()), Device.CPU.options(ScalarType.Float)));
                Parameter factors = layer.trained(B, (seed, path) -> Tensors.zeros(layer.out()));
                layer.claim(new Update(a, b, layer.in(), d, factors, config.dropout()));
            }
        }
    }

    private static Tensor kaiming(TorchRandom random, long rows, long columns) {
        return random.uniform(Math.sqrt(3) * Math.sqrt(2) / Math.sqrt(columns), rows, columns);
    }

    /** The factors in A's rows and B's rows, of which the layer takes as much as its sides have. */
    private record Update(
            Tensor projectionA, Tensor projectionB, long in, Parameter d, Parameter factors, double dropout)
            implements LowRank {
        @Override
        public Tensor a() {
            return projectionA.narrow(1, 0, in).mul(d.value().unsqueeze(1));
        }

        @Override
        public Tensor b() {
            return projectionB
                    .narrow(0, 0, factors.elements())
                    .mul(factors.value().unsqueeze(1));
        }

        @Override
        public long knownRank() {
            return d.elements();
        }

        @Override
        public double scale() {
            return 1;
        }
    }

    @Override
    protected long elements(VeraConfig config, List<LinearPoint> layers) {
        return layers.stream().mapToLong(layer -> config.r() + layer.out()).sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public VeraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new VeraConfig(
                    config.count("r", 256),
                    LinearKeys.projection(config),
                    config.number("vera_dropout", 0),
                    config.number("d_initial", 0.1),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(VeraConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bias", "none");
        file.put("d_initial", config.dInitial());
        file.put("fan_in_fan_out", false);
        file.put("init_weights", true);
        file.put("projection_prng_key", config.projection().projectionPrngKey());
        file.put("r", config.r());
        file.put("save_projection", config.projection().saveProjection());
        file.put("vera_dropout", config.dropout());
        return file;
    }

    @Override
    public String summary() {
        return "vectors d and b around random A and B that all layers share: y = W x + b ∘ (B (d ∘ (A x)))";
    }

    @Override
    public String settings(VeraConfig config) {
        return "r " + config.r() + ", the model's usual targets";
    }
}
