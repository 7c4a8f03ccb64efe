package org.peft4j.model.decoder;

import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** Mistral (Jiang et al. 2023): Llama with a sliding window in all blocks. */
public final class MistralFamily extends DecoderFamily {
    public MistralFamily() {
        super(
                "mistral",
                DecoderNames.ofLlama("Mistral", DecoderNames.Norms.BEFORE),
                DecoderKeys.ofLlama()
                        .obeyed("hidden_act", "sliding_window")
                        .unset("transformers takes the window or leaves it out, by the way it goes", "layer_types")
                        .build());
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(8, 0));
        int positions = config.positions(131_072);
        DecoderConfig.Attention attention = config.attention(
                        stack,
                        positions,
                        RotaryReader.Habits.theta(10_000),
                        DecoderConfig.Projections.plain(false, false))
                .withWindow(config.usualWindow(4_096));
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false),
                config.rmsNorm(1e-6, 0),
                DecoderConfig.Residual.PLAIN,
                config.layers(stack, attention, config.gatedMlp(false)),
                config.heads());
    }
}
