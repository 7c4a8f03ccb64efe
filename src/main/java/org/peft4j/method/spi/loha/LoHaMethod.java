package org.peft4j.method.spi.loha;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Ranks;
import org.peft4j.method.loha.LoHaConfig;
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

/** LoHa (Hyeon-Woo et al. 2021; LyCORIS; Hugging Face PEFT): the update is the product, element by element, of two of low rank. */
public final class LoHaMethod extends LinearMethod<LoHaConfig> {
    private static final String A1 = "hada_w1_a";
    private static final String B1 = "hada_w1_b";
    private static final String A2 = "hada_w2_a";
    private static final String B2 = "hada_w2_b";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .all(LinearKeys.LYCORIS)
            .build();

    @Override
    public String name() {
        return "loha";
    }

    @Override
    public String peftType() {
        return "LOHA";
    }

    @Override
    public LoHaConfig defaults() {
        return LoHaConfig.defaults();
    }

    @Override
    protected List<String> suffixes() {
        return List.of(A1, B1, A2, B2);
    }

    @Override
    protected void adapt(LoHaConfig config, AdaptedLayers layers) {
        for (AdaptedLayers.Layer layer : layers.all()) {
            long r = config.ranks().rank(layer.path());
            Parameter a1 = layer.trained(A1, (seed, path) -> Init.kaiming(seed, path, layer.out(), r));
            Parameter b1 = layer.trained(B1, (seed, path) -> Init.kaiming(seed, path, r, layer.in()));
            Parameter a2 = layer.trained(A2, (seed, path) -> Init.kaiming(seed, path, layer.out(), r));
            Parameter b2 = layer.trained(B2, (seed, path) -> Tensors.zeros(r, layer.in()));
            HadamardProduct product =
                    new HadamardProduct(a1, b1, a2, b2, config.ranks().scale(layer.path()));
            layer.claim(product.isLowRank() ? product.new Folded() : product.new Whole());
        }
    }

    @Override
    protected long elements(LoHaConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer -> 2L * config.ranks().rank(layer.path()) * (layer.in() + layer.out()))
                .sum();
    }

    @Override
    protected LoHaConfig withPatterns(LoHaConfig config, PatternRule.Change change) {
        return config.withRanks(LinearKeys.changed(config.ranks(), change));
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public LoHaConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            Ranks ranks = LinearKeys.ranks(config);
            return new LoHaConfig(ranks, LinearKeys.layers(config), config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(LoHaConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        LinearKeys.put(config.ranks(), file);
        file.put("init_weights", true);
        return file;
    }

    @Override
    public String summary() {
        return "two pairs of matrices of rank r, multiplied element by element: y = W x + scale · ((A₁ B₁) ∘ (A₂ B₂)) x";
    }

    @Override
    public String settings(LoHaConfig config) {
        return "r " + config.ranks().r() + ", the model's usual targets";
    }
}
