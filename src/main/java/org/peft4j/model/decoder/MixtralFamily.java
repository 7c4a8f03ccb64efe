package org.peft4j.model.decoder;

import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** Mixtral (Jiang et al. 2024): Mistral with a mixture of experts in each block. */
public final class MixtralFamily extends DecoderFamily {
    public MixtralFamily() {
        super(
                "mixtral",
                DecoderNames.ofLlama("Mixtral", DecoderNames.Norms.BEFORE),
                DecoderKeys.ofLlama()
                        .obeyed(
                                "hidden_act",
                                "sliding_window",
                                "num_local_experts",
                                "num_experts",
                                "num_experts_per_tok")
                        .unset("noise on what the router reads is not offered", "router_jitter_noise")
                        .unset("the router's balance is not part of the loss: it is frozen", "output_router_logits")
                        .harmless("only read where the router's balance is part of the loss", "router_aux_loss_coef")
                        .build());
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(8, 0));
        int positions = config.positions(131_072);
        DecoderConfig.Attention attention = config.attention(
                        stack,
                        positions,
                        RotaryReader.Habits.theta(1_000_000),
                        DecoderConfig.Projections.plain(false, false))
                .withWindow(config.window(0));
        DecoderConfig.Mlp mlp = new DecoderConfig.Mlp(
                config.innerSize("intermediate_size"),
                config.activation("hidden_act", "silu"),
                true,
                false,
                config.experts("num_experts", "num_local_experts", 8, 2, true));
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false),
                config.rmsNorm(1e-5, 0),
                DecoderConfig.Residual.PLAIN,
                config.layers(stack, attention, mlp),
                config.heads());
    }
}
