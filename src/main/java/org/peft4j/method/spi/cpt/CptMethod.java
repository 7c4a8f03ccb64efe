package org.peft4j.method.spi.cpt;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.cpt.LossWeights;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PromptStarts;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SequencePoint;

/**
 * Context-aware prompt tuning (Blau et al. 2024; Hugging Face PEFT). PEFT's file holds where the rows came to, not where they began: an
 * adapter that was read may move from there anew.
 */
public final class CptMethod implements Method<CptConfig> {
    private static final String DELTA = "delta_embedding.weight";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(SoftPrompt.KEYS)
            .obeyed(
                    "cpt_token_ids",
                    "cpt_tokens_type_mask",
                    "opt_loss_decay_factor",
                    "opt_projection_epsilon",
                    "opt_projection_format_epsilon")
            .only("opt_weighted_loss_type", List.of("none", "decay"), "PEFT knows no such weights")
            .harmless("PEFT reads it nowhere", "cpt_mask")
            .harmless("the tokens are there as numbers", "tokenizer_name_or_path")
            .build();

    @Override
    public String name() {
        return "cpt";
    }

    @Override
    public String peftType() {
        return "CPT";
    }

    @Override
    public CptConfig defaults() {
        return CptConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of(
                "cpt_token_ids", "prompt_tokens",
                "cpt_tokens_type_mask", "token_types",
                "opt_weighted_loss_type", "loss_weights",
                "opt_loss_decay_factor", "loss_decay",
                "opt_projection_epsilon", "input_epsilon",
                "opt_projection_format_epsilon", "format_epsilon");
    }

    @Override
    public Adapter attach(String name, CptConfig config, Points points, long seed) {
        CptRows.check(config);
        SequencePoint front = SoftPrompt.point(points);
        long[] tokens =
                config.promptTokens().stream().mapToLong(Integer::longValue).toArray();
        for (long token : tokens) {
            if (token >= front.words().rows()) {
                throw new IllegalArgumentException("prompt_tokens must be below "
                        + front.words().rows() + ", the rows of the model's embedding table, got " + token);
            }
        }
        try (PointerScope scope = new PointerScope()) {
            return build(name, config, points, Tensors.toFloats(PromptStarts.embedded(tokens, front, points)))
                    .build();
        }
    }

    private static Adapter.Builder build(String name, CptConfig config, Points points, float[] centre) {
        SequencePoint front = SoftPrompt.point(points);
        Parameter delta = Parameter.of(
                DELTA, SoftPrompt.GROUP, SoftPrompt.zeros(config.promptTokens().size(), points));
        Adapter.Builder builder = Adapter.builder(name, points.device()).parameter(delta);
        builder.claim(front, new CptRows(config, centre, delta));
        SavedModules.claim(builder, points, config.modulesToSave());
        return builder;
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public CptConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        List<Integer> tokens = config.counts("cpt_token_ids");
        int count = config.count("num_virtual_tokens", tokens.size());
        if (tokens.isEmpty() || count != tokens.size()) {
            throw config.wrong(
                    "cpt_token_ids",
                    "must have at least one token, and as many as num_virtual_tokens says (" + count + ")",
                    tokens);
        }
        List<Integer> types = config.get("cpt_tokens_type_mask") == null
                ? Collections.nCopies(count, 1)
                : config.counts("cpt_tokens_type_mask");
        try {
            return new CptConfig(
                    tokens,
                    types,
                    new CptConfig.Loss(
                            "decay".equals(config.get("opt_weighted_loss_type")) ? LossWeights.DECAY : LossWeights.NONE,
                            config.number("opt_loss_decay_factor", 1)),
                    new CptConfig.Distance(
                            config.number("opt_projection_epsilon", 0.1),
                            config.number("opt_projection_format_epsilon", 0.1)),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public Adapter read(String name, CptConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        notes.add("the file does not hold where the rows began; further training moves them from where they are");
        float[] centre;
        Map<String, float[]> saved = new LinkedHashMap<>();
        try (Adapter whole =
                SoftPrompt.read(name, config.promptTokens().size(), config.modulesToSave(), file, points, notes)) {
            centre = Tensors.toFloats(Objects.requireNonNull(whole.parameters().get(SoftPrompt.TABLE))
                    .value());
            whole.replacements().forEach((path, own) -> saved.put(path, Tensors.toFloats(own.value())));
        }
        Adapter.Builder builder = build(name, config, points, centre);
        SavedModules.claimWhole(builder, points, saved.keySet(), new java.util.ArrayList<>()); // told above
        Adapter adapter = builder.build();
        saved.forEach((path, values) ->
                Objects.requireNonNull(adapter.replacements().get(path)).set(values));
        return adapter;
    }

    @Override
    public Map<String, Object> fileConfig(CptConfig config, Points points) {
        int count = config.promptTokens().size();
        Map<String, @Nullable Object> file = new LinkedHashMap<>(SoftPrompt.fileConfig(count, points));
        file.put("cpt_mask", Collections.nCopies(count, 1));
        file.put("cpt_token_ids", config.promptTokens());
        file.put("cpt_tokens_type_mask", config.tokenTypes());
        file.put("opt_loss_decay_factor", config.loss().lossDecay());
        file.put("opt_projection_epsilon", config.distance().inputEpsilon());
        file.put("opt_projection_format_epsilon", config.distance().formatEpsilon());
        file.put("opt_weighted_loss_type", config.loss().lossWeights() == LossWeights.DECAY ? "decay" : "none");
        file.put("tokenizer_name_or_path", null);
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(CptConfig config, Adapter adapter) {
        return SoftPrompt.fileTensors(adapter);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(SoftPrompt.mergeRefusal());
    }

    @Override
    public long parameterCount(CptConfig config, Points points) {
        return config.promptTokens().size() * SoftPrompt.point(points).width()
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "how far embedded examples in front of each text move from their tokens";
    }

    @Override
    public String settings(CptConfig config) {
        return config.promptTokens().size() + " tokens of examples";
    }
}
