package org.peft4j.method.spi.lokr;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.lokr.InitLoKr;
import org.peft4j.method.lokr.LoKrConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PatternRule;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;

/** LoKr (Yeh et al. 2023; LyCORIS; Hugging Face PEFT): the update is a Kronecker product. */
public final class LoKrMethod extends LinearMethod<LoKrConfig> {
    private static final String W1 = "lokr_w1";
    private static final String W2 = "lokr_w2";
    private static final String LEFT = "_a";
    private static final String RIGHT = "_b";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .all(LinearKeys.LYCORIS)
            .obeyed("decompose_both", "decompose_factor")
            .harmless("only read with rank_dropout, which only training has", "rank_dropout_scale")
            .build();

    @Override
    public String name() {
        return "lokr";
    }

    @Override
    public String peftType() {
        return "LOKR";
    }

    @Override
    public LoKrConfig defaults() {
        return LoKrConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "init_weights", "init");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(W1, W2, W1 + LEFT, W1 + RIGHT, W2 + LEFT, W2 + RIGHT);
    }

    @Override
    protected void adapt(LoKrConfig config, AdaptedLayers layers) {
        boolean second = config.init() == InitLoKr.LYCORIS;
        for (AdaptedLayers.Layer layer : layers.all()) {
            KroneckerShape shape = KroneckerShape.of(config, layer.path(), layer.in(), layer.out());
            layer.claim(new KroneckerProduct(
                    shape,
                    first(layer, shape, !second),
                    second(layer, shape, second),
                    config.ranks().scale(layer.path())));
        }
    }

    /** Of a product it is the left matrix that may begin with zeros. */
    private static KroneckerProduct.Factor first(AdaptedLayers.Layer layer, KroneckerShape shape, boolean zero) {
        KroneckerShape.Factor own = shape.first();
        return own.whole()
                ? factor(matrix(layer, W1, own.rows(), own.columns(), zero))
                : new KroneckerProduct.Factor(
                        matrix(layer, W1 + LEFT, own.rows(), shape.r(), zero),
                        matrix(layer, W1 + RIGHT, shape.r(), own.columns(), false));
    }

    /** Of a product it is the right matrix that may begin with zeros. */
    private static KroneckerProduct.Factor second(AdaptedLayers.Layer layer, KroneckerShape shape, boolean zero) {
        KroneckerShape.Factor own = shape.second();
        return own.whole()
                ? factor(matrix(layer, W2, own.rows(), own.columns(), zero))
                : new KroneckerProduct.Factor(
                        matrix(layer, W2 + LEFT, own.rows(), shape.r(), false),
                        matrix(layer, W2 + RIGHT, shape.r(), own.columns(), zero));
    }

    private static KroneckerProduct.Factor factor(Parameter whole) {
        return new KroneckerProduct.Factor(whole, null);
    }

    private static Parameter matrix(AdaptedLayers.Layer layer, String suffix, long rows, long columns, boolean zero) {
        return layer.trained(suffix, (seed, path) -> first(seed, path, rows, columns, zero));
    }

    private static Tensor first(long seed, String path, long rows, long columns, boolean zero) {
        return zero ? Tensors.zeros(rows, columns) : Init.kaiming(seed, path, rows, columns);
    }

    @Override
    protected long elements(LoKrConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer -> KroneckerShape.of(config, layer.path(), layer.in(), layer.out())
                        .elements())
                .sum();
    }

    @Override
    protected LoKrConfig withPatterns(LoKrConfig config, PatternRule.Change change) {
        return config.withRanks(LinearKeys.changed(config.ranks(), change));
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public LoKrConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        boolean nearest = config.get("decompose_factor") instanceof Number n && n.doubleValue() == -1;
        try {
            return new LoKrConfig(
                    LinearKeys.ranks(config),
                    config.flag("decompose_both"),
                    nearest ? -1 : config.count("decompose_factor", -1),
                    "lycoris".equals(config.get("init_weights")) ? InitLoKr.LYCORIS : InitLoKr.FIRST_ZERO,
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(LoKrConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        LinearKeys.put(config.ranks(), file);
        file.put("decompose_both", config.decomposeBoth());
        file.put("decompose_factor", config.decomposeFactor());
        file.put("init_weights", config.init() == InitLoKr.LYCORIS ? "lycoris" : true);
        file.put("rank_dropout_scale", false);
        return file;
    }

    @Override
    public String summary() {
        return "a Kronecker product of two small matrices: y = W x + scale · (W₁ ⊗ W₂) x";
    }

    @Override
    public String settings(LoKrConfig config) {
        return "r " + config.ranks().r() + ", the model's usual targets";
    }
}
