package org.peft4j.method.spi.prefix;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.prefix.InitPrefix;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.PrefixTable;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;

/**
 * Prefix tuning (Li and Liang 2021) and P-tuning v2 (Liu et al. 2021), with Hugging Face PEFT's file: one table
 * {@code prompt_embeddings} [P, 2 · layers · heads · head size], row i seen as [2 · layers, heads, head size], element 2l
 * the key and 2l + 1 the value of layer l.
 */
public final class PrefixMethod implements Method<PrefixConfig> {
    private static final String TABLE = "prompt_embeddings";
    private static final String GROUP = "prompt";
    private static final String PREFIX = "base_model.";

    @Override
    public String name() {
        return "prefix-tuning";
    }

    @Override
    public String peftType() {
        return "PREFIX_TUNING";
    }

    @Override
    public PrefixConfig defaults() {
        return PrefixConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of(
                "num_virtual_tokens", "virtual_tokens", "prefix_projection", "projection", "init_weights", "init");
    }

    @Override
    public Adapter attach(String name, PrefixConfig config, Points points, long seed) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        PrefixTable table = config.projection()
                ? projected(builder, config, points, seed)
                : direct(builder, config.virtualTokens(), config.init(), points, seed);
        claim(builder, table, config, points);
        return builder.build();
    }

    private static PrefixTable direct(Adapter.Builder builder, long tokens, InitPrefix init, Points points, long seed) {
        long width = width(points);
        Parameter values = Parameter.of(TABLE, GROUP, () -> switch (init) {
            case RANDOM -> Init.normal(seed, TABLE, 1, tokens, width);
            case ZERO -> Tensors.zeros(tokens, width);
        });
        builder.parameter(values);
        return PrefixTable.of(values);
    }

    private static PrefixTable projected(Adapter.Builder builder, PrefixConfig config, Points points, long seed) {
        long hidden = points.hiddenSize();
        long inner = inner(config, points);
        String path = "prompt_encoder.";
        Parameter embedding = Parameter.of(
                path + "embedding.weight",
                GROUP,
                () -> Init.normal(seed, path + "embedding.weight", 1, config.virtualTokens(), hidden));
        Parameter downWeight = linear(path + "transform.0.weight", inner, hidden, seed);
        Parameter downBias = bias(path + "transform.0.bias", inner, hidden, seed);
        boolean zero = config.init() == InitPrefix.ZERO; // the last layer's, so that the whole prefix is
        Parameter upWeight = zero
                ? zeros(path + "transform.2.weight", width(points), inner)
                : linear(path + "transform.2.weight", width(points), inner, seed);
        Parameter upBias = zero
                ? zeros(path + "transform.2.bias", width(points))
                : bias(path + "transform.2.bias", width(points), inner, seed);
        for (Parameter parameter : List.of(embedding, downWeight, downBias, upWeight, upBias)) {
            builder.parameter(parameter);
        }
        return PrefixTable.projected(embedding, downWeight, downBias, upWeight, upBias);
    }

    private static Parameter zeros(String path, long... shape) {
        return Parameter.of(path, GROUP, () -> Tensors.zeros(shape));
    }

    private static Parameter linear(String path, long out, long in, long seed) {
        return Parameter.of(path, GROUP, () -> Init.kaiming(seed, path, out, in));
    }

    private static Parameter bias(String path, long out, long in, long seed) {
        return Parameter.of(path, GROUP, () -> Init.uniform(seed, path, 1 / Math.sqrt(in), out));
    }

    private static void claim(Adapter.Builder builder, PrefixTable table, PrefixConfig config, Points points) {
        for (KeyValuePoint point : points.keyValues()) {
            builder.claim(point, table.at(point, points.layers(), config.virtualTokens()));
        }
        SavedModules.claim(builder, points, config.modulesToSave());
        builder.positions(config.virtualTokens());
    }

    /** 2 · layers · heads · head size. */
    private static long width(Points points) {
        KeyValuePoint point = points.keyValues().get(0);
        return 2L * points.layers() * point.heads() * point.headSize();
    }

    private static long inner(PrefixConfig config, Points points) {
        return config.encoderHiddenSize() == 0 ? points.hiddenSize() : config.encoderHiddenSize();
    }

    @Override
    public ConfigKeys keys() {
        return PrefixFiles.KEYS;
    }

    @Override
    public PrefixConfig readConfig(AdapterFile file) throws MalformedFileException {
        return PrefixFiles.read(file);
    }

    /** The file holds the table itself, also of a projected prefix: its two layers are gone, as in PEFT. */
    @Override
    public Adapter read(String name, PrefixConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        if (config.projection()) {
            notes.add("the prefix was trained through a projection that its file does not hold; further training"
                    + " changes the keys and values themselves");
        }
        Adapter.Builder builder = Adapter.builder(name, points.device());
        PrefixFiles.checkModel(file, points);
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PREFIX, points);
        PrefixTable table = direct(builder, config.virtualTokens(), InitPrefix.ZERO, points, 0);
        claim(builder, table, config, points);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        return PeftTensors.filled(builder.build(), file, byPath, PrefixMethod::key, notes);
    }

    private static String key(String path) {
        return path.equals(TABLE) ? TABLE : PREFIX + path;
    }

    @Override
    public Map<String, Object> fileConfig(PrefixConfig config, Points points) {
        return PrefixFiles.write(config, inner(config, points), points);
    }

    @Override
    public Map<String, TensorData> fileTensors(PrefixConfig config, Adapter adapter) {
        Map<String, TensorData> tensors = new LinkedHashMap<>();
        PrefixTable table = ((PrefixTable.Share) adapter.claims(KeyValuePoint.class)
                        .values()
                        .iterator()
                        .next()
                        .get(0))
                .source();
        try (var scope = new org.bytedeco.javacpp.PointerScope()) {
            Tensor values = table.values().detach();
            tensors.put(
                    TABLE,
                    new TensorData(
                            TABLE, ElementType.F32, List.of(values.size(0), values.size(1)), Tensors.toBytes(values)));
        }
        PeftTensors.of(adapter, PrefixMethod::key).forEach((name, data) -> {
            if (!name.equals(TABLE) && !name.startsWith(PREFIX + "prompt_encoder.")) {
                tensors.put(name, data);
            }
        });
        return tensors;
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of("keys and values of a prefix depend on no input, but attention weighs them by each query:"
                + " no frozen weight has that effect");
    }

    @Override
    public long parameterCount(PrefixConfig config, Points points) {
        long p = config.virtualTokens();
        long hidden = points.hiddenSize();
        long inner = inner(config, points);
        long prefix = config.projection()
                ? p * hidden + inner * hidden + inner + width(points) * inner + width(points)
                : p * width(points);
        return prefix + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "P keys and values in front of each layer's own";
    }

    @Override
    public String settings(PrefixConfig config) {
        return config.virtualTokens() + " virtual tokens";
    }
}
