package org.peft4j.method.spi.iapt;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.iapt.PromptInsertion;
import org.peft4j.method.iapt.PromptPositions;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Points;

/**
 * IAPT (Zhu et al. 2024). Its files are ours: {@code prompt_generator.{g}.down.weight}, …, {@code prompt_pool.{l}.weight},
 * {@code prompt_act.{l}.numerator} and {@code denominator}, for groups g of layers and layers l.
 */
public final class IaptMethod implements Method<IaptConfig> {
    private static final String OWN = "prompt_";
    private static final String REFUSAL =
            "its soft tokens depend on the instruction, and attention weighs them: no frozen weight has that effect";

    @Override
    public String name() {
        return "iapt";
    }

    @Override
    public String peftType() {
        return "IAPT";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public IaptConfig defaults() {
        return IaptConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("num_virtual_tokens", "virtual_tokens");
    }

    @Override
    public Adapter attach(String name, IaptConfig config, Points points, long seed) {
        return build(name, config, points, seed).build();
    }

    private static Adapter.Builder build(String name, IaptConfig config, Points points, long seed) {
        check(config, points);
        Adapter.Builder builder = Adapter.builder(name, points.device());
        PromptGenerator.Projections projections = null;
        List<KeyValuePoint> layers = points.keyValues();
        for (int layer = 0; layer < layers.size(); layer++) {
            if (projections == null || layer % config.shareGroup() == 0) {
                projections = PromptGenerator.Projections.fresh(
                        layer / config.shareGroup(), config, points.hiddenSize(), seed);
                projections.parameters().forEach(builder::parameter);
            }
            PromptGenerator generator = PromptGenerator.fresh(layer, projections, config, seed);
            generator.parameters().forEach(builder::parameter);
            builder.claim(layers.get(layer), generator);
        }
        SavedModules.claim(builder, points, config.modulesToSave());
        if (config.bilevel()) {
            builder.secondLevel(new Adapter.SecondLevel(PromptGenerator.ACTIVATION, config.bilevelShare()));
        }
        return builder.positions(config.promptPositions() == PromptPositions.SHIFT ? config.virtualTokens() : 0);
    }

    private static void check(IaptConfig config, Points points) {
        if (config.promptInsertion() != PromptInsertion.REPLACE) {
            return;
        }
        points.keyValues().stream()
                .filter(point -> point.window() > 0)
                .findFirst()
                .ifPresent(point -> {
                    throw new IllegalArgumentException(
                            "prompt_insertion: replace would let the window of " + point.window() + " rows of "
                                    + point.path() + " hide soft tokens from later rows; cache keeps them in sight");
                });
    }

    @Override
    public ConfigKeys keys() {
        return IaptFiles.KEYS;
    }

    @Override
    public IaptConfig readConfig(AdapterFile file) throws MalformedFileException {
        return IaptFiles.read(file);
    }

    @Override
    public Adapter read(String name, IaptConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        Adapter.Builder builder = build(name, config, points, 0);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        return PeftTensors.filled(builder.build(), file, byPath, IaptMethod::key, notes);
    }

    private static String key(String path) {
        return path.startsWith(OWN) ? path : PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, Object> fileConfig(IaptConfig config, Points points) {
        return new LinkedHashMap<>(IaptFiles.write(config));
    }

    @Override
    public Map<String, TensorData> fileTensors(IaptConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, IaptMethod::key);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(REFUSAL);
    }

    @Override
    public long parameterCount(IaptConfig config, Points points) {
        long layers = points.keyValues().size();
        long groups = (layers + config.shareGroup() - 1) / config.shareGroup();
        long m = config.bottleneckSize();
        long d = points.hiddenSize();
        long coefficients =
                config.rationalDegrees().get(0) + 1L + config.rationalDegrees().get(1);
        return groups * (2 * m * d + m + d)
                + layers * (config.virtualTokens() * m + coefficients)
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "small networks that make P soft tokens for each layer of the instruction's hidden states";
    }

    @Override
    public String settings(IaptConfig config) {
        return config.virtualTokens() + " soft tokens, generators of width " + config.bottleneckSize() + " for "
                + config.shareGroup() + " layers each";
    }
}
