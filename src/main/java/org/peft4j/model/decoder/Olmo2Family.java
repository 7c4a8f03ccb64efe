package org.peft4j.model.decoder;

import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** OLMo 2 (OLMo Team 2024): norms behind the sublayers alone, and of queries and keys as a whole. */
public final class Olmo2Family extends DecoderFamily {
    public Olmo2Family() {
        super(
                "olmo2",
                DecoderNames.ofLlama("Olmo2", DecoderNames.Norms.BEHIND),
                DecoderKeys.ofLlama().obeyed("hidden_act", "attention_bias").build());
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
                new DecoderConfig.Projections(bias, bias, false, DecoderConfig.QueryKeyNorm.ROW));
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false),
                config.rmsNorm(1e-5, 0),
                DecoderConfig.Residual.PLAIN,
                config.layers(stack, attention, config.gatedMlp(false)),
                config.heads());
    }
}
