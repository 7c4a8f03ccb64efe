package org.peft4j.model.decoder;

import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** Llama (Touvron et al. 2023) and what has its form, SmolLM and SmolLM2 among them. */
public final class LlamaFamily extends DecoderFamily {
    static final ConfigKeys KEYS = DecoderKeys.ofLlama()
            .obeyed("hidden_act", "attention_bias", "mlp_bias")
            .build();

    public LlamaFamily() {
        super("llama", DecoderNames.ofLlama("Llama", DecoderNames.Norms.BEFORE), KEYS);
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(0, 0));
        int positions = config.positions(2_048);
        boolean bias = config.flag("attention_bias", false);
        DecoderConfig.Attention attention = config.attention(
                stack, positions, RotaryReader.Habits.theta(10_000), DecoderConfig.Projections.plain(bias, bias));
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false),
                config.rmsNorm(1e-6, 0),
                DecoderConfig.Residual.PLAIN,
                config.layers(stack, attention, config.gatedMlp(config.flag("mlp_bias", false))),
                config.heads());
    }
}
