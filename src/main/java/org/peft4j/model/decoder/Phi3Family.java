package org.peft4j.model.decoder;

import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** Phi 3 and Phi 4 (Abdin et al. 2024): Llama with one layer for queries, keys and values, and one for gate and up. */
public final class Phi3Family extends DecoderFamily {
    private static final RotaryReader.Habits ROTARY = new RotaryReader.Habits(
            10_000, "rope_theta", 1, "partial_rotary_factor", Map.of("su", "longrope", "yarn", "longrope"));

    public Phi3Family() {
        super(
                "phi3",
                DecoderNames.ofLlama("Phi3", List.of("qkv_proj"), List.of("gate_up_proj"), DecoderNames.Norms.BEFORE),
                DecoderKeys.ofLlama()
                        .obeyed("hidden_act", "sliding_window", "resid_pdrop")
                        .harmless("not read by transformers", "embd_pdrop", "attention_bias")
                        .build());
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(0, 0));
        int positions = config.positions(4_096);
        DecoderConfig.Attention attention = config.attention(
                        stack, positions, ROTARY, DecoderConfig.Projections.plain(false, false))
                .withWindow(config.window(0));
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false),
                config.rmsNorm(1e-5, 0),
                new DecoderConfig.Residual(false, 1, config.dropout("resid_pdrop", 0)),
                config.layers(stack, attention, config.gatedMlp(false)),
                config.heads());
    }
}
