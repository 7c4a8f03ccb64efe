package org.peft4j.method.spi.gralora;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.gralora.GraloraConfig;
import org.peft4j.method.gralora.GraloraRanks;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;

/** GraLoRA (Jung et al. 2025; Hugging Face PEFT): low-rank updates of W's blocks, and one of the whole beside them. */
public final class GraloraMethod extends LinearMethod<GraloraConfig> {
    private static final String A = "gralora_A";
    private static final String B = "gralora_B";
    private static final String GENERAL_A = "gralora_A_general.weight";
    private static final String GENERAL_B = "gralora_B_general.weight";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "hybrid_r", "gralora_k", "alpha", "gralora_dropout")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .only("bias", List.of("none"), "biases would be trained, too")
            .harmless("how A and B began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "gralora";
    }

    @Override
    public String peftType() {
        return "GRALORA";
    }

    @Override
    public GraloraConfig defaults() {
        return GraloraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "gralora_dropout", "dropout");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(A, B, GENERAL_A, GENERAL_B);
    }

    @Override
    protected void adapt(GraloraConfig config, AdaptedLayers layers) {
        GraloraRanks ranks = config.ranks();
        int k = ranks.graloraK();
        int r = ranks.r();
        for (AdaptedLayers.Layer layer : layers.all()) {
            long in = layer.in();
            long out = layer.out();
            if (in % k != 0 || out % k != 0) {
                throw new IllegalArgumentException("graloraK must divide the " + in + " inputs and " + out
                        + " outputs of " + layer.path() + ", got " + k);
            }
            Parameter a = layer.trained(A, (seed, path) -> start(seed, path, k, in / k, r));
            Parameter b = layer.trained(B, (seed, path) -> Tensors.zeros(k, r, out / k));
            layer.claim(new BlockProducts(
                    a, b, general(ranks.hybridR(), layer), config.alpha() / (r + ranks.hybridR()), config.dropout()));
        }
    }

    /** Kaiming-uniform, as of matrices [r, in / k]. */
    private static Tensor start(long seed, String path, long k, long inputs, long r) {
        return Init.uniform(seed, path, 1 / Math.sqrt(inputs), k, inputs, r);
    }

    private static BlockProducts.@Nullable General general(int h, AdaptedLayers.Layer layer) {
        return h == 0
                ? null
                : new BlockProducts.General(
                        layer.trained(GENERAL_A, (seed, path) -> Init.kaiming(seed, path, h, layer.in())),
                        layer.trained(GENERAL_B, (seed, path) -> Tensors.zeros(layer.out(), h)));
    }

    @Override
    protected long elements(GraloraConfig config, List<LinearPoint> layers) {
        long rank = config.ranks().r() + config.ranks().hybridR();
        return layers.stream()
                .mapToLong(layer -> rank * (layer.in() + layer.out()))
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public GraloraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new GraloraConfig(
                    new GraloraRanks(config.count("r", 32), config.count("hybrid_r", 0), config.count("gralora_k", 2)),
                    config.number("alpha", 64),
                    config.number("gralora_dropout", 0),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(GraloraConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        double alpha = config.alpha();
        file.put("alpha", alpha == Math.rint(alpha) && alpha < 1L << 53 ? (Object) (long) alpha : alpha);
        file.put("bias", "none");
        file.put("fan_in_fan_out", false);
        file.put("gralora_dropout", config.dropout());
        file.put("gralora_k", config.ranks().graloraK());
        file.put("hybrid_r", config.ranks().hybridR());
        file.put("init_weights", true);
        file.put("r", config.ranks().r());
        return file;
    }

    @Override
    public String summary() {
        return "A and B of each of W's k times k blocks, which share a rank of r";
    }

    @Override
    public String settings(GraloraConfig config) {
        return "r " + config.ranks().r() + ", k " + config.ranks().graloraK() + ", the model's usual targets";
    }
}
