package org.peft4j.method.spi.fourierft;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Targets;
import org.peft4j.method.fourierft.FourierFtConfig;
import org.peft4j.method.fourierft.Frequencies;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PatternRule;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.TorchRandom;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;

/** FourierFT (Gao et al. 2024; Hugging Face PEFT): what is added to W has a spectrum with few coefficients. */
public final class FourierFtMethod extends LinearMethod<FourierFtConfig> {
    private static final String SPECTRUM = "fourierft_spectrum";
    private static final String PATTERN = "n_frequency_pattern";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("n_frequency", PATTERN, "random_loc_seed", "scaling", "init_weights")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .only("bias", List.of("none"), "biases would be trained, too")
            .build();

    @Override
    public String name() {
        return "fourierft";
    }

    @Override
    public String peftType() {
        return "FOURIERFT";
    }

    @Override
    public FourierFtConfig defaults() {
        return FourierFtConfig.defaults();
    }

    @Override
    protected Targets usual(Targets targets, String modelType) {
        return targets instanceof Targets.ModelDefault && modelType.equals("gpt2")
                ? Targets.names("mlp.c_proj")
                : super.usual(targets, modelType);
    }

    @Override
    protected List<String> suffixes() {
        return List.of(SPECTRUM);
    }

    @Override
    protected void adapt(FourierFtConfig config, AdaptedLayers layers) {
        Function<String, Integer> numbers = numbers(config.frequencies());
        for (AdaptedLayers.Layer layer : layers.all()) {
            int k = numbers.apply(layer.path());
            long all = Math.multiplyExact(layer.in(), layer.out());
            if (k > all) {
                throw new IllegalArgumentException(
                        "nFrequency must be at most the " + all + " elements of " + layer.path() + ", got " + k);
            }
            Tensor own = layers.shared(
                    "fourierft_places." + all + "." + k, // whatever the shape: they count through the matrix row by row
                    () -> places(config.frequencies().randomLocSeed(), all, k),
                    k);
            Parameter coefficients = layer.trained(
                    SPECTRUM, (seed, path) -> config.initWeights() ? Tensors.zeros(k) : Init.normal(seed, path, 1, k));
            layer.claim(new SparseSpectrum(coefficients, own, layer.out(), layer.in(), config.scaling()));
        }
    }

    private static Function<String, Integer> numbers(Frequencies frequencies) {
        Function<String, Optional<Integer>> pattern = PatternRule.SIZES.of(frequencies.nFrequencyPattern());
        return path -> pattern.apply(path).orElse(frequencies.nFrequency());
    }

    private static Tensor places(long seed, long all, int k) {
        try (TorchRandom random = new TorchRandom(seed)) {
            return random.permutation(all).narrow(0, 0, k);
        }
    }

    @Override
    protected long elements(FourierFtConfig config, List<LinearPoint> layers) {
        Function<String, Integer> numbers = numbers(config.frequencies());
        return layers.stream().mapToLong(layer -> numbers.apply(layer.path())).sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public FourierFtConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new FourierFtConfig(
                    new Frequencies(
                            config.count("n_frequency", 1000),
                            config.countsByName(PATTERN),
                            config.whole("random_loc_seed", 777)),
                    config.number("scaling", 150),
                    config.flag("init_weights"),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected PatternRule patternRule() {
        return PatternRule.SIZES;
    }

    @Override
    protected FourierFtConfig withPatterns(FourierFtConfig config, PatternRule.Change change) {
        Frequencies own = config.frequencies();
        return config.withFrequencies(
                new Frequencies(own.nFrequency(), change.apply(PATTERN, own.nFrequencyPattern()), own.randomLocSeed()));
    }

    @Override
    protected Map<String, Object> fileConfig(FourierFtConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bias", "none");
        file.put("fan_in_fan_out", false);
        file.put("init_weights", config.initWeights());
        file.put("n_frequency", config.frequencies().nFrequency());
        file.put(PATTERN, config.frequencies().nFrequencyPattern());
        file.put("random_loc_seed", config.frequencies().randomLocSeed());
        file.put("scaling", config.scaling());
        return file;
    }

    @Override
    public String summary() {
        return "coefficients of the spectrum of what is added to W, in random places: y = (W + s Re F⁻¹(C)) x + b";
    }

    @Override
    public String settings(FourierFtConfig config) {
        return config.frequencies().nFrequency() + " coefficients, the model's usual targets";
    }
}
