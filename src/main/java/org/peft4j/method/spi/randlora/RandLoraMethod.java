package org.peft4j.method.spi.randlora;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.randlora.Bases;
import org.peft4j.method.randlora.RandLoraConfig;
import org.peft4j.method.randlora.Sparsity;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/** RandLoRA (Albert et al. 2025; Hugging Face PEFT): a sum of products of random matrices, of which diagonals are trained. */
public final class RandLoraMethod extends LinearMethod<RandLoraConfig> {
    private static final String LAMBDA = "randlora_lambda";
    private static final String GAMMA = "randlora_gamma";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "randlora_alpha", "projection_prng_key", "save_projection", "sparse", "very_sparse")
            .obeyed("randlora_dropout")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .only("bias", List.of("none"), "biases would be trained, too")
            .harmless("how the diagonals began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "randlora";
    }

    @Override
    public String peftType() {
        return "RANDLORA";
    }

    @Override
    public RandLoraConfig defaults() {
        return RandLoraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "randlora_dropout", "dropout", "randlora_alpha", "alpha");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(LAMBDA, GAMMA);
    }

    @Override
    protected void adapt(RandLoraConfig config, AdaptedLayers layers) {
        long r = config.r();
        RandomBases bases = RandomBases.of(config, layers);
        for (AdaptedLayers.Layer layer : layers.all()) {
            SumOfBases.Sides sides = new SumOfBases.Sides(layer.in(), layer.out());
            long products = RandomBases.products(sides.small(), r);
            Parameter lambda = layer.trained(LAMBDA, (seed, path) -> Tensors.zeros(r, products));
            Parameter gamma = layer.trained(
                    GAMMA,
                    (seed, path) -> torch.full(
                            new long[] {products, sides.small()},
                            new Scalar(1.0 / Math.max(products, sides.small())),
                            Device.CPU.options(ScalarType.Float)));
            layer.claim(new SumOfBases(bases, sides, lambda, gamma, config.alpha() / r, config.dropout()));
        }
    }

    @Override
    protected long elements(RandLoraConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer -> {
                    long small = Math.min(layer.in(), layer.out());
                    return RandomBases.products(small, config.r()) * (config.r() + small);
                })
                .sum();
    }

    /** PEFT writes A and B under each layer, too. */
    @Override
    protected void removeCopies(AdapterFile file, Map<String, TensorData> byPath) throws MalformedFileException {
        for (String name : List.of(RandomBases.A, RandomBases.B)) {
            String shared = AdaptedLayers.SHARED + name;
            TensorData first = byPath.get(shared);
            checkComplete(file, byPath, name);
            for (Iterator<Map.Entry<String, TensorData>> all = byPath.entrySet().iterator(); all.hasNext(); ) {
                Map.Entry<String, TensorData> entry = all.next();
                TensorData data = entry.getValue();
                if (!entry.getKey().endsWith("." + name) || entry.getKey().equals(shared)) {
                    continue;
                }
                all.remove();
                if (first == null) {
                    first = data;
                } else if (!first.shape().equals(data.shape()) || !first.bytes().equals(data.bytes())) {
                    throw PeftTensors.malformed(
                            file,
                            "tensors " + first.name() + " and " + data.name()
                                    + " must be the same, as all layers share it, but differ");
                }
            }
            if (first != null) {
                byPath.put(shared, first);
            }
        }
    }

    /** Each adapted layer has a copy, or none. */
    private static void checkComplete(AdapterFile file, Map<String, TensorData> byPath, String name)
            throws MalformedFileException {
        List<String> copies = byPath.keySet().stream()
                .filter(path -> path.endsWith("." + LAMBDA))
                .map(path -> path.substring(0, path.length() - LAMBDA.length()) + name)
                .toList();
        List<String> missing =
                copies.stream().filter(path -> !byPath.containsKey(path)).toList();
        if (!missing.isEmpty() && missing.size() < copies.size()) {
            throw PeftTensors.malformed(
                    file,
                    "adapter lacks the tensor " + PeftKeys.MODEL + missing.get(0)
                            + ", which it has under other layers");
        }
    }

    @Override
    public Map<String, TensorData> fileTensors(RandLoraConfig config, Adapter adapter) {
        Map<String, TensorData> tensors = new LinkedHashMap<>(super.fileTensors(config, adapter));
        for (String name : List.of(RandomBases.A, RandomBases.B)) {
            TensorData shared = tensors.get(AdaptedLayers.SHARED + name);
            if (shared == null) {
                continue; // not saved
            }
            for (LinearPoint layer : adapter.claims(LinearPoint.class).keySet()) {
                String copy = PeftKeys.MODEL + layer.path() + "." + name;
                tensors.put(copy, new TensorData(copy, shared.dtype(), shared.shape(), shared.bytes()));
            }
        }
        return tensors;
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public RandLoraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        Sparsity sparsity = config.flag("very_sparse")
                ? Sparsity.VERY_SPARSE
                : config.flag("sparse") ? Sparsity.SPARSE : Sparsity.DENSE; // as PEFT asks for them
        try {
            return new RandLoraConfig(
                    config.count("r", 32),
                    config.number("randlora_alpha", 640),
                    new Bases(sparsity, LinearKeys.projection(config)),
                    config.number("randlora_dropout", 0),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(RandLoraConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bias", "none");
        file.put("fan_in_fan_out", false);
        file.put("init_weights", true);
        file.put("projection_prng_key", config.bases().projection().projectionPrngKey());
        file.put("r", config.r());
        file.put("randlora_alpha", LinearKeys.number(config.alpha()));
        file.put("randlora_dropout", config.dropout());
        file.put("save_projection", config.bases().projection().saveProjection());
        file.put("sparse", config.bases().sparsity() == Sparsity.SPARSE);
        file.put("very_sparse", config.bases().sparsity() == Sparsity.VERY_SPARSE);
        return file;
    }

    @Override
    public String summary() {
        return "diagonals within a sum of random products that all layers share: y = W x + scale · Σ Bₙ Λₙ A Γₙ x";
    }

    @Override
    public String settings(RandLoraConfig config) {
        return "r " + config.r() + ", the model's usual targets";
    }
}
