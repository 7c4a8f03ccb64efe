package org.peft4j.model.decoder;

import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** Granite 3 (IBM 2024): Llama with factors for words, scores, what sublayers add, and logits. */
public final class GraniteFamily extends DecoderFamily {
    public GraniteFamily() {
        super(
                "granite",
                DecoderNames.ofLlama("Granite", DecoderNames.Norms.BEFORE),
                DecoderKeys.ofLlama()
                        .obeyed(
                                "hidden_act",
                                "attention_bias",
                                "mlp_bias",
                                "embedding_multiplier",
                                "attention_multiplier",
                                "residual_multiplier",
                                "logits_scaling")
                        .build());
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(0, 0));
        int positions = config.positions(2_048);
        boolean bias = config.flag("attention_bias", false);
        DecoderConfig.Attention attention = config.attention(
                        stack,
                        positions,
                        RotaryReader.Habits.theta(10_000),
                        DecoderConfig.Projections.plain(bias, bias))
                .withScale(config.positive("attention_multiplier", 1));
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false, config.positive("embedding_multiplier", 1), 0),
                config.rmsNorm(1e-6, 0),
                new DecoderConfig.Residual(false, config.positive("residual_multiplier", 1), 0),
                config.layers(stack, attention, config.gatedMlp(config.flag("mlp_bias", false))),
                config.heads(0, 1 / config.positive("logits_scaling", 1)));
    }
}
