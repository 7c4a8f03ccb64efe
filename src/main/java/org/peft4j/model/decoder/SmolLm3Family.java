package org.peft4j.model.decoder;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** SmolLM3 (Hugging Face 2025): Llama with blocks that know no positions. */
public final class SmolLm3Family extends DecoderFamily {
    private static final String TURNED = "no_rope_layers";

    public SmolLm3Family() {
        super(
                "smollm3",
                DecoderNames.ofLlama("SmolLM3", DecoderNames.Norms.BEFORE),
                DecoderKeys.ofLlama()
                        .obeyed(
                                "hidden_act",
                                "attention_bias",
                                "mlp_bias",
                                TURNED,
                                "no_rope_layer_interval",
                                "use_sliding_window",
                                "sliding_window",
                                "layer_types")
                        .harmless("not read by transformers", "max_window_layers")
                        .build());
    }

    @Override
    String orderRefusal() {
        return LAYERS_BY_NUMBER;
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(4, 0));
        int positions = config.positions(32_768);
        int n = stack.layers();
        int interval = config.count("no_rope_layer_interval", 4);
        int @Nullable [] given = config.numbers(TURNED, n); // 1 where positions are known, in spite of its name
        boolean[] turned = new boolean[n];
        for (int layer = 0; layer < n; layer++) {
            turned[layer] = given == null ? (layer + 1) % interval != 0 : given[layer] != 0;
        }
        long window = config.switchedWindow(0);
        boolean[] sliding = config.sliding(n, window, layer -> window > 0 && !turned[layer]);
        boolean bias = config.flag("attention_bias", false);
        DecoderConfig.Attention attention = config.attention(
                stack, positions, RotaryReader.Habits.theta(2_000_000), DecoderConfig.Projections.plain(bias, bias));
        DecoderConfig.Mlp mlp = config.gatedMlp(config.flag("mlp_bias", false));
        List<DecoderConfig.Layer> layers = new ArrayList<>();
        for (int layer = 0; layer < n; layer++) {
            layers.add(new DecoderConfig.Layer(
                    attention
                            .withRotary(turned[layer] ? attention.rotary() : null)
                            .withWindow(sliding[layer] ? window : 0),
                    mlp));
        }
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, true),
                config.rmsNorm(1e-6, 0),
                DecoderConfig.Residual.PLAIN,
                layers,
                config.heads());
    }
}
