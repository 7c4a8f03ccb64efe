package org.peft4j.model.decoder;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** Qwen3's mixtures of experts (Qwen Team 2025); some blocks may have one MLP for all rows. */
public final class Qwen3MoeFamily extends DecoderFamily {
    public Qwen3MoeFamily() {
        super(
                "qwen3_moe",
                DecoderNames.ofLlama("Qwen3Moe", DecoderNames.Norms.BEFORE),
                DecoderKeys.ofLlama()
                        .obeyed(
                                "hidden_act",
                                "attention_bias",
                                "use_sliding_window",
                                "sliding_window",
                                "decoder_sparse_step",
                                "mlp_only_layers",
                                "moe_intermediate_size",
                                "num_experts",
                                "num_local_experts",
                                "num_experts_per_tok",
                                "norm_topk_prob")
                        .unset("the router's balance is not part of the loss: it is frozen", "output_router_logits")
                        .harmless("only read where the router's balance is part of the loss", "router_aux_loss_coef")
                        .harmless("not read by transformers: all layers have the window", "max_window_layers")
                        .build());
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(4, 0));
        int positions = config.positions(32_768);
        boolean bias = config.flag("attention_bias", false);
        DecoderConfig.Attention attention = config.attention(
                        stack,
                        positions,
                        RotaryReader.Habits.theta(10_000),
                        new DecoderConfig.Projections(bias, bias, false, DecoderConfig.QueryKeyNorm.HEAD))
                .withWindow(config.switchedWindow(4_096));
        DecoderConfig.Mlp dense = config.gatedMlp(false);
        DecoderConfig.Mlp sparse = new DecoderConfig.Mlp(
                config.count("moe_intermediate_size", 768),
                dense.activation(),
                true,
                false,
                config.experts("num_local_experts", "num_experts", 128, 8, config.flag("norm_topk_prob", false)));
        int step = config.count("decoder_sparse_step", 1);
        int @Nullable [] given = config.numbers("mlp_only_layers", 0);
        int[] denseLayers = given == null ? new int[0] : given;
        List<DecoderConfig.Layer> layers = new ArrayList<>();
        for (int i = 0; i < stack.layers(); i++) {
            int layer = i;
            boolean one = Arrays.stream(denseLayers).anyMatch(number -> number == layer) || (layer + 1) % step != 0;
            layers.add(new DecoderConfig.Layer(attention, one ? dense : sparse));
        }
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false),
                config.rmsNorm(1e-6, 0),
                DecoderConfig.Residual.PLAIN,
                layers,
                config.heads());
    }
}
