package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.DataStart;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.PatternRule;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.ReplicatedLayers;

/** LoRA's two files as Hugging Face PEFT 0.21 writes them. */
final class LoraFiles {
    /** PEFT fails at these; what its older versions leave out has a default. */
    private static final List<String> NEVER_NULL = List.of("r", "lora_alpha", "lora_dropout", "bias");

    private static final List<String> WORD_TABLES = List.of("embed_tokens", "word_embeddings", "wte", "embed_in");

    private LoraFiles() {}

    static LoraConfig read(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        for (String key : NEVER_NULL) {
            if (file.config().containsKey(key) && config.get(key) == null) {
                throw config.wrong(key, "must have a value", null);
            }
        }
        try {
            TargetLayers layers = LinearKeys.layers(config);
            InitLora init = LoraKeys.init(config);
            List<String> parameters = config.texts("target_parameters");
            return LoraConfig.builder()
                    .targetParameters(parameters)
                    .r(config.count("r", 8))
                    .alpha(config.number("lora_alpha", 8))
                    .rslora(config.flag("use_rslora"))
                    .dropout(config.number("lora_dropout", 0))
                    .bias(bias(config))
                    .targets(
                            layers.targets() instanceof Targets.ModelDefault && !parameters.isEmpty()
                                    ? Targets.none() // PEFT writes the usual ones, where it has adapted them
                                    : layers.targets())
                    .excludeModules(layers.excludeModules())
                    .layersToTransform(layers.layersToTransform())
                    .layersPattern(layers.layersPattern())
                    .rankPattern(config.countsByName("rank_pattern"))
                    .alphaPattern(config.numbers("alpha_pattern"))
                    .modulesToSave(config.texts("modules_to_save"))
                    .init(init)
                    .dataStart(init == InitLora.EVA ? EvaKeys.read(config) : DataStart.defaults())
                    .dora(config.flag("use_dora"))
                    .loraBias(config.flag("lora_bias"))
                    .trainableTokens(tokens(config))
                    .aloraInvocationTokens(config.counts("alora_invocation_tokens"))
                    .layerReplication(ReplicatedLayers.read(config))
                    .build();
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    /** A list is of the table of words; a map by tables' names must have that one alone. */
    private static List<Integer> tokens(PeftConfigReader config) throws MalformedFileException {
        String key = "trainable_token_indices";
        if (!(config.get(key) instanceof Map<?, ?> tables)) {
            return config.counts(key);
        }
        if (tables.isEmpty()) {
            return List.of();
        }
        if (tables.size() == 1 && tables.values().iterator().next() instanceof List<?> list) {
            String table = String.valueOf(tables.keySet().iterator().next());
            if (WORD_TABLES.stream().anyMatch(words -> table.equals(words) || table.endsWith("." + words))) {
                return config.counts(key, list);
            }
        }
        throw config.wrong(key, "must be a list, or name one of the tables of words " + WORD_TABLES, tables);
    }

    private static Bias bias(PeftConfigReader config) throws MalformedFileException {
        String name = config.text("bias");
        for (Bias bias : Bias.values()) {
            if (bias.name().toLowerCase(Locale.ROOT).equals(name == null ? "none" : name)) {
                return bias;
            }
        }
        throw config.wrong("bias", "must be one of [none, all, lora_only]", name);
    }

    /**
     * Every key that PEFT writes and that is not the same for all methods.
     *
     * @param adapted paths of the adapted modules
     */
    static Map<String, Object> write(LoraConfig config, Collection<String> adapted) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        LoraKeys.putUnset(file);
        LinearKeys.put(config.layers(), file);
        file.put("target_modules", config.targets().toTree());
        file.put("target_parameters", config.targetParameters().isEmpty() ? null : config.targetParameters());
        file.put("alpha_pattern", PatternRule.RANKS.free(config.alphaPattern(), adapted));
        file.put("bias", config.bias().name().toLowerCase(Locale.ROOT));
        file.put("init_lora_weights", config.init() == InitLora.KAIMING ? true : name(config.init()));
        file.put(
                "eva_config",
                config.init() == InitLora.EVA ? EvaKeys.of(config.dataStart().eva()) : null);
        file.put("lora_alpha", LinearKeys.number(config.alpha()));
        file.put("lora_dropout", config.dropout());
        file.put("r", config.r());
        file.put("rank_pattern", PatternRule.RANKS.free(config.rankPattern(), adapted));
        file.put("use_rslora", config.rslora());
        file.put("use_dora", config.dora());
        file.put("lora_bias", config.loraBias());
        file.put(
                "alora_invocation_tokens",
                config.aloraInvocationTokens().isEmpty() ? null : config.aloraInvocationTokens());
        file.put(
                ReplicatedLayers.KEY,
                config.layerReplication().isNone()
                        ? null
                        : config.layerReplication().ranges());
        file.put("trainable_token_indices", config.trainableTokens().isEmpty() ? null : config.trainableTokens());
        return file;
    }

    private static String name(InitLora init) {
        return init.name().toLowerCase(Locale.ROOT);
    }

    /** The settings that a file's tensors fit: where a part of W was taken out, those of plain LoRA of twice the rank. */
    static LoraConfig written(LoraConfig config) {
        if (!config.init().takesFromWeight()) {
            return config;
        }
        double alphas = config.rslora() ? Math.sqrt(2) : 2; // the scale stays what it is
        Map<String, Integer> ranks = new LinkedHashMap<>(config.rankPattern());
        ranks.replaceAll((key, rank) -> 2 * rank);
        Map<String, Double> pattern = new LinkedHashMap<>(config.alphaPattern());
        pattern.replaceAll((key, alpha) -> alphas * alpha);
        return config.toBuilder()
                .r(2 * config.r())
                .alpha(alphas * config.alpha())
                .rankPattern(ranks)
                .alphaPattern(pattern)
                .init(InitLora.KAIMING)
                .svdIterations(0)
                .dataStart(DataStart.defaults())
                .build();
    }

    /**
     * Settings of these modules alone, with a scale of 1.
     *
     * @param ranks by the modules' paths
     */
    static LoraConfig.Builder ofRanks(Map<String, Integer> ranks) {
        int most = ranks.values().stream().mapToInt(Integer::intValue).max().orElseThrow();
        Map<String, Integer> otherRanks = new LinkedHashMap<>();
        Map<String, Double> otherAlphas = new LinkedHashMap<>();
        ranks.forEach((module, rank) -> {
            if (rank != most) {
                otherRanks.put(PatternRule.RANKS.whole(module), rank);
                otherAlphas.put(PatternRule.RANKS.whole(module), (double) rank);
            }
        });
        return LoraConfig.builder()
                .r(most)
                .alpha(most)
                .targets(Targets.names(ranks.keySet()))
                .rankPattern(otherRanks)
                .alphaPattern(otherAlphas);
    }

    /** See {@link org.peft4j.method.spi.Method#respelled}; module by module, for these paths. */
    static LoraConfig oneByOne(
            LoraConfig config, List<String> paths, UnaryOperator<String> from, UnaryOperator<String> to) {
        LoraLayers layers = new LoraLayers(config);
        List<String> adapted = new ArrayList<>();
        Map<String, Integer> ranks = new LinkedHashMap<>();
        Map<String, Double> alphas = new LinkedHashMap<>();
        for (String path : paths) {
            String old = from.apply(path);
            String pattern = PatternRule.RANKS.whole(to.apply(path));
            if (layers.adapts(old)) {
                adapted.add(to.apply(path));
            }
            if (layers.rank(old) != config.r()) {
                ranks.put(pattern, layers.rank(old));
            }
            if (layers.alpha(old) != config.alpha()) {
                alphas.put(pattern, layers.alpha(old));
            }
        }
        return config.toBuilder()
                .targets(adapted.isEmpty() ? config.targets() : Targets.names(adapted))
                .excludeModules(null)
                .layersPattern(List.of())
                .layersToTransform(List.of())
                .rankPattern(ranks)
                .alphaPattern(alphas)
                .build();
    }
}
