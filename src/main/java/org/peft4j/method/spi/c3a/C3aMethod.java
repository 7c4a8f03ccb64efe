package org.peft4j.method.spi.c3a;

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
import org.peft4j.method.c3a.BlockSizes;
import org.peft4j.method.c3a.C3aConfig;
import org.peft4j.method.c3a.InitC3a;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.FirstValues;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PatternRule;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearPoint;

/** C³A (Chen et al. 2024; Hugging Face PEFT): {@code y = (W + ΔW) x + b} with circulant blocks in ΔW. */
public final class C3aMethod extends LinearMethod<C3aConfig> {
    private static final String KERNEL = "c3a_kernel";
    private static final String PATTERN = "block_size_pattern";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("block_size", PATTERN, "init_weights")
            .only("bias", List.of("none"), "biases would be trained, too")
            .build();

    @Override
    public String name() {
        return "c3a";
    }

    @Override
    public String peftType() {
        return "C3A";
    }

    @Override
    public C3aConfig defaults() {
        return C3aConfig.defaults();
    }

    @Override
    protected Targets usual(Targets targets, String modelType) {
        return targets instanceof Targets.ModelDefault && modelType.equals("gpt2")
                ? Targets.names("mlp.c_proj")
                : super.usual(targets, modelType);
    }

    @Override
    protected List<String> suffixes() {
        return List.of(KERNEL);
    }

    @Override
    protected void adapt(C3aConfig config, AdaptedLayers layers) {
        Function<String, Long> sizes = sizes(config.blocks());
        for (AdaptedLayers.Layer layer : layers.all()) {
            long b = sizes.apply(layer.path());
            if (layer.in() % b != 0 || layer.out() % b != 0) {
                throw new IllegalArgumentException("blockSize must divide the " + layer.in() + " inputs and "
                        + layer.out() + " outputs of " + layer.path() + ", got " + b);
            }
            Tensor own = layers.shared("c3a_turns." + b, () -> turns(b), b * b);
            FirstValues start = start(config.initWeights(), layer.in(), layer.out(), b);
            layer.claim(new CirculantBlocks(layer.trained(KERNEL, start), own));
        }
    }

    private static Function<String, Long> sizes(BlockSizes blocks) {
        Function<String, Optional<Integer>> pattern = PatternRule.SIZES.of(blocks.blockSizePattern());
        return path -> pattern.apply(path).orElse(blocks.blockSize()).longValue();
    }

    private static FirstValues start(InitC3a init, long in, long out, long b) {
        long[] shape = {out / b, in / b, b};
        return switch (init) {
            case ZEROS -> (seed, path) -> Tensors.zeros(shape);
            case XAVIER_UNIFORM -> (seed, path) -> Init.uniform(seed, path, Math.sqrt(6.0 / (in + out)), shape);
            case KAIMING_UNIFORM -> (seed, path) -> Init.uniform(seed, path, 1 / Math.sqrt(in), shape);
            case GAUSSIAN -> (seed, path) -> Init.normal(seed, path, 1, shape);
        };
    }

    private static Tensor turns(long b) {
        long[] turns = new long[Math.toIntExact(b * b)];
        for (int i = 0; i < turns.length; i++) {
            turns[i] = Math.floorMod(i % b - i / b, b);
        }
        return Tensors.ofLongs(turns, turns.length);
    }

    @Override
    protected long elements(C3aConfig config, List<LinearPoint> layers) {
        Function<String, Long> sizes = sizes(config.blocks());
        return layers.stream()
                .mapToLong(layer -> layer.in() * layer.out() / sizes.apply(layer.path()))
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public C3aConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new C3aConfig(
                    new BlockSizes(config.count("block_size", 256), config.countsByName(PATTERN)),
                    init(config),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static InitC3a init(PeftConfigReader config) throws MalformedFileException {
        Object value = config.get("init_weights");
        if (value == null || value.equals(false)) {
            return InitC3a.XAVIER_UNIFORM;
        }
        if (value.equals(true)) {
            return InitC3a.ZEROS;
        }
        for (InitC3a init : InitC3a.values()) {
            if (init != InitC3a.ZEROS && value.equals(init.fileName())) {
                return init;
            }
        }
        throw config.wrong("init_weights", "must be true, false, xavier_uniform, kaiming_uniform or gaussian", value);
    }

    @Override
    protected PatternRule patternRule() {
        return PatternRule.SIZES;
    }

    @Override
    protected C3aConfig withPatterns(C3aConfig config, PatternRule.Change change) {
        BlockSizes blocks = config.blocks();
        return config.withBlocks(new BlockSizes(blocks.blockSize(), change.apply(PATTERN, blocks.blockSizePattern())));
    }

    @Override
    protected Map<String, Object> fileConfig(C3aConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bias", "none");
        file.put("block_size", config.blocks().blockSize());
        file.put(PATTERN, config.blocks().blockSizePattern());
        InitC3a init = config.initWeights();
        file.put("init_weights", init == InitC3a.ZEROS ? (Object) true : init.fileName());
        return file;
    }

    @Override
    public String summary() {
        return "first rows of the circulant blocks of what is added to W: a circular convolution";
    }

    @Override
    public String settings(C3aConfig config) {
        return "blocks of " + config.blocks().blockSize() + ", the model's usual targets";
    }
}
