package org.peft4j.model.decoder;

import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** Gemma 2 (Gemma Team 2024): norms before and behind sublayers, soft-capped scores and logits, a window in every other block. */
public final class Gemma2Family extends DecoderFamily {
    public Gemma2Family() {
        super(
                "gemma2",
                DecoderNames.ofLlama("Gemma2", DecoderNames.Norms.BOTH),
                DecoderKeys.ofLlama()
                        .obeyed(
                                "hidden_activation",
                                "attention_bias",
                                "query_pre_attn_scalar",
                                "sliding_window",
                                "layer_types",
                                "attn_logit_softcapping",
                                "final_logit_softcapping")
                        .harmless("not read by transformers: hidden_activation is", "hidden_act")
                        .build());
    }

    @Override
    String orderRefusal() {
        return LAYERS_BY_NUMBER;
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(4, 256));
        int positions = config.positions(8_192);
        boolean bias = config.flag("attention_bias", false);
        long window = config.usualWindow(4_096);
        DecoderConfig.Attention attention = config.attention(
                        stack,
                        positions,
                        RotaryReader.Habits.theta(10_000),
                        DecoderConfig.Projections.plain(bias, bias))
                .withScale(1 / Math.sqrt(config.positive("query_pre_attn_scalar", 256)))
                .withWindow(window)
                .withSoftcap(config.usual("attn_logit_softcapping", 50));
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, true, Math.sqrt(stack.hiddenSize()), 0),
                config.rmsNorm(1e-6, 1),
                DecoderConfig.Residual.PLAIN,
                config.layers(
                        stack,
                        attention,
                        config.gatedMlp(config.activation("hidden_activation", "gelu_pytorch_tanh"), false),
                        config.sliding(stack.layers(), window, layer -> layer % 2 == 0)),
                config.heads(config.usual("final_logit_softcapping", 30), 1));
    }
}
