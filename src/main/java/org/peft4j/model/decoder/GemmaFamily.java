package org.peft4j.model.decoder;

import java.util.List;
import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;
import org.peft4j.ops.Ops;

/**
 * Gemma (Gemma Team 2024): Llama with scaled rows of words, norms whose files hold weight - 1, and GELU by tanh, which also
 * {@code gelu} means in its files.
 */
public final class GemmaFamily extends DecoderFamily {
    private static final String GELU = "gelu_pytorch_tanh";

    public GemmaFamily() {
        super(
                "gemma",
                DecoderNames.ofLlama("Gemma", DecoderNames.Norms.BEFORE),
                DecoderKeys.ofLlama()
                        .only("hidden_act", List.of(GELU, "gelu"), "Gemma has GELU by tanh")
                        .only("hidden_activation", List.of(GELU, "gelu"), "Gemma has GELU by tanh")
                        .obeyed("attention_bias")
                        .build());
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(16, 256));
        int positions = config.positions(8_192);
        boolean bias = config.flag("attention_bias", false);
        DecoderConfig.Attention attention = config.attention(
                stack, positions, RotaryReader.Habits.theta(10_000), DecoderConfig.Projections.plain(bias, bias));
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, true, Math.sqrt(stack.hiddenSize()), 0),
                config.rmsNorm(1e-6, 1),
                DecoderConfig.Residual.PLAIN,
                config.layers(stack, attention, config.gatedMlp(Ops.Activation.GELU_TANH, false)),
                config.heads());
    }
}
