package org.peft4j.method.spi.shira;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.UsualTargets;
import org.peft4j.method.shira.ShiraConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.TorchRandom;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;

/** SHiRA (Bhardwaj et al. 2024; Hugging Face PEFT): some elements of the weight, at random places, get something added. */
public final class ShiraMethod extends LinearMethod<ShiraConfig> {
    private static final String VALUES = "shira_weight";
    private static final String PLACES = "shira_indices";
    private static final long TORCHS_SEED = 67280421310721L; // of a generator that nobody has seeded

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed("r", "random_seed")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .harmless("how the places were chosen, which the file has", "mask_type")
            .harmless("how the values began, which the file's replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "shira";
    }

    @Override
    public String peftType() {
        return "SHIRA";
    }

    @Override
    public ShiraConfig defaults() {
        return ShiraConfig.defaults();
    }

    @Override
    protected List<String> suffixes() {
        return List.of(VALUES, PLACES);
    }

    @Override
    protected Targets usual(Targets targets, String modelType) {
        return targets instanceof Targets.ModelDefault && modelType.equals("phi")
                ? Targets.names("q_proj", "v_proj") // LoRA has those of the MLP, too
                : UsualTargets.resolve(targets, modelType);
    }

    @Override
    protected void adapt(ShiraConfig config, AdaptedLayers layers) {
        Long given = config.randomSeed();
        for (AdaptedLayers.Layer layer : layers.all()) {
            long in = layer.in();
            long out = layer.out();
            long k = count(config, layer.path(), in, out);
            Parameter values = layer.trained(VALUES, (seed, path) -> Tensors.zeros(k));
            Tensor places =
                    layer.constant(PLACES, true, () -> drawn(given == null ? TORCHS_SEED : given, in, out, k), 2, k);
            if (layers.read()) {
                check(places, layer, layers);
            }
            layer.claim(new SparseUpdate(values, places, in, out));
        }
    }

    /** How many elements of a layer are trained. */
    private static long count(ShiraConfig config, String layer, long in, long out) {
        long k = config.r() * (in + out);
        if (k > in * out) {
            throw new IllegalArgumentException("r must be at most " + in * out / (in + out) + " for " + layer
                    + ", whose weight [" + out + ", " + in + "] has " + in * out
                    + " elements: r (in + out) of them are trained; got " + config.r());
        }
        return k;
    }

    /** Rows and columns of k places, in the order of the weight's elements. */
    private static Tensor drawn(long seed, long in, long out, long k) {
        try (TorchRandom random = new TorchRandom(seed)) {
            long[] chosen = Tensors.toLongs(random.permutation(in * out).narrow(0, 0, k));
            java.util.Arrays.sort(chosen);
            long[] places = new long[Math.toIntExact(2 * k)];
            for (int i = 0; i < k; i++) {
                places[i] = chosen[i] / in;
                places[(int) k + i] = chosen[i] % in;
            }
            return Tensors.ofLongs(places, places.length).view(2, k);
        }
    }

    private static void check(Tensor places, AdaptedLayers.Layer layer, AdaptedLayers layers) {
        long[] all = Tensors.toLongs(places);
        for (int i = 0; i < all.length; i++) {
            boolean row = i < all.length / 2;
            long most = row ? layer.out() : layer.in();
            if (all[i] < 0 || all[i] >= most) {
                throw layers.malformed("tensor " + PeftKeys.MODEL + layer.path(PLACES) + " must have "
                        + (row ? "rows" : "columns") + " from 0 to " + (most - 1) + ", has " + all[i] + " at " + i);
            }
        }
    }

    /** PEFT on Windows writes places as float32. */
    @Override
    protected void removeCopies(AdapterFile file, Map<String, TensorData> byPath) throws MalformedFileException {
        for (String path : List.copyOf(byPath.keySet())) {
            if (path.endsWith("." + VALUES)) {
                String places = path.substring(0, path.length() - VALUES.length()) + PLACES;
                TensorData data = byPath.get(places);
                if (data == null) {
                    throw PeftTensors.malformed(
                            file, "adapter lacks the tensor " + PeftKeys.MODEL + places + PeftTensors.has(file));
                }
                if (data.dtype().isFloat()) {
                    byPath.put(places, whole(file, data));
                } else if (!PeftTensors.isWhole(data)) {
                    throw PeftTensors.malformed(
                            file, "tensor " + data.name() + " must hold whole numbers, is " + data.dtype());
                }
            }
        }
    }

    private static TensorData whole(AdapterFile file, TensorData data) throws MalformedFileException {
        float[] values = data.toFloats();
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(values.length, Integer.BYTES))
                .order(ByteOrder.LITTLE_ENDIAN);
        for (float value : values) {
            if (value != Math.rint(value) || Math.abs(value) >= 1 << 24) { // beyond, float32 has not every whole number
                throw PeftTensors.malformed(
                        file, "tensor " + data.name() + " must hold whole numbers below 2^24, has " + value);
            }
            bytes.putInt((int) value);
        }
        return new TensorData(data.name(), ElementType.I32, data.shape(), bytes.flip());
    }

    @Override
    protected long elements(ShiraConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer -> count(config, layer.path(), layer.in(), layer.out()))
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public ShiraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new ShiraConfig(
                    config.count("r", 32), seed(config), LinearKeys.layers(config), config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static @Nullable Long seed(PeftConfigReader config) throws MalformedFileException {
        return config.get("random_seed") == null ? null : config.whole("random_seed", 0);
    }

    @Override
    protected Map<String, Object> fileConfig(ShiraConfig config) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        file.put("fan_in_fan_out", false);
        file.put("init_weights", true);
        file.put("mask_type", "random");
        file.put("r", config.r());
        file.put("random_seed", config.randomSeed());
        return file;
    }

    @Override
    public String summary() {
        return "some elements of the weight, at random places: y = (W + S) x with a sparse S";
    }

    @Override
    public String settings(ShiraConfig config) {
        return "r " + config.r() + ", the model's usual targets";
    }
}
