package org.peft4j.model.decoder;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ConfigReader;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;
import org.peft4j.nn.RotaryFrequencies;

/**
 * Gemma 3's language model (Gemma Team 2025): Gemma 2 with normed heads of queries and keys in place of the soft-cap of scores, and
 * two rotary embeddings, one for blocks with a window and one for those without.
 */
public final class Gemma3TextFamily extends DecoderFamily {
    private static final String LOCAL = "rope_local_base_freq";
    private static final String PARAMETERS = "rope_parameters";

    public Gemma3TextFamily() {
        super(
                "gemma3_text",
                DecoderNames.ofLlama("Gemma3", DecoderNames.Norms.BOTH).withClasses("Gemma3Text", "Gemma3ForCausalLM"),
                DecoderKeys.ofLlama()
                        .obeyed(
                                "hidden_activation",
                                "attention_bias",
                                "query_pre_attn_scalar",
                                "sliding_window",
                                "sliding_window_pattern",
                                "_sliding_window_pattern",
                                "layer_types",
                                "final_logit_softcapping",
                                LOCAL)
                        .harmless("not read by transformers: hidden_activation is", "hidden_act")
                        .harmless("not read by transformers: scores have no soft-cap", "attn_logit_softcapping")
                        .build());
    }

    @Override
    String orderRefusal() {
        return LAYERS_BY_NUMBER;
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(4, 256));
        int positions = config.positions(131_072);
        boolean bias = config.flag("attention_bias", false);
        long window = config.usualWindow(4_096);
        int pattern = config.count("sliding_window_pattern", config.count("_sliding_window_pattern", 6));
        boolean[] sliding = config.sliding(stack.layers(), window, layer -> (layer + 1) % pattern != 0);
        DecoderConfig.Attention full = config.attention(
                        stack,
                        global(config, stack, positions),
                        new DecoderConfig.Projections(bias, bias, false, DecoderConfig.QueryKeyNorm.HEAD))
                .withScale(1 / Math.sqrt(config.positive("query_pre_attn_scalar", 256)));
        DecoderConfig.Attention windowed =
                full.withRotary(local(config, stack, positions)).withWindow(window);
        DecoderConfig.Mlp mlp = config.gatedMlp(config.activation("hidden_activation", "gelu_pytorch_tanh"), false);
        List<DecoderConfig.Layer> layers = new ArrayList<>();
        for (boolean slides : sliding) {
            layers.add(new DecoderConfig.Layer(slides ? windowed : full, mlp));
        }
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, true, Math.sqrt(stack.hiddenSize()), 0),
                config.rmsNorm(1e-6, 1),
                DecoderConfig.Residual.PLAIN,
                layers,
                config.heads(config.positive("final_logit_softcapping", 0), 1));
    }

    /** Settings by the kind of block, or, in older files, {@code rope_scaling} for those without a window. */
    private static RotaryFrequencies global(DecoderReader config, ModelInfo.Stack stack, int positions)
            throws MalformedFileException {
        ConfigReader scaling = config.config().inner("rope_scaling").orElse(null);
        ConfigReader parameters = inside(config, "full_attention");
        return config.rotary(
                scaling != null ? scaling : parameters,
                scaling != null ? "rope_scaling" : PARAMETERS + ".full_attention",
                stack,
                positions,
                RotaryReader.Habits.theta(1_000_000));
    }

    private static RotaryFrequencies local(DecoderReader config, ModelInfo.Stack stack, int positions)
            throws MalformedFileException {
        return config.rotary(
                inside(config, "sliding_attention"),
                PARAMETERS + ".sliding_attention",
                stack,
                positions,
                RotaryReader.Habits.theta(10_000).withThetaKey(LOCAL));
    }

    private static @Nullable ConfigReader inside(DecoderReader config, String kind) throws MalformedFileException {
        ConfigReader parameters = config.config().inner(PARAMETERS).orElse(null);
        return parameters == null ? null : parameters.inner(kind).orElse(null);
    }
}
