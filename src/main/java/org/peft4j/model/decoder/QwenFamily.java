package org.peft4j.model.decoder;

import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/**
 * Qwen2, Qwen2.5 and Qwen3: Llama with biases (2) or normed heads (3) of queries and keys, and, where a file asks for it, a window
 * in the upper blocks.
 */
public abstract sealed class QwenFamily extends DecoderFamily {
    QwenFamily(String modelType, String classes, ConfigKeys.Builder keys) {
        super(
                modelType,
                DecoderNames.ofLlama(classes, DecoderNames.Norms.BEFORE),
                keys.obeyed("hidden_act", "use_sliding_window", "sliding_window", "max_window_layers", "layer_types")
                        .build());
    }

    @Override
    String orderRefusal() {
        return LAYERS_BY_NUMBER;
    }

    /** {@code model_type: qwen2}. */
    public static final class Qwen2 extends QwenFamily {
        public Qwen2() {
            super("qwen2", "Qwen2", DecoderKeys.ofLlama());
        }

        @Override
        DecoderConfig read(DecoderReader config) throws MalformedFileException {
            return read(config, 0, DecoderConfig.Projections.plain(true, false));
        }
    }

    /** {@code model_type: qwen3}. */
    public static final class Qwen3 extends QwenFamily {
        public Qwen3() {
            super("qwen3", "Qwen3", DecoderKeys.ofLlama().obeyed("attention_bias"));
        }

        @Override
        DecoderConfig read(DecoderReader config) throws MalformedFileException {
            boolean bias = config.flag("attention_bias", false);
            return read(config, 128, new DecoderConfig.Projections(bias, bias, false, DecoderConfig.QueryKeyNorm.HEAD));
        }
    }

    static DecoderConfig read(DecoderReader config, int headSize, DecoderConfig.Projections projections)
            throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(32, headSize));
        int positions = config.positions(32_768);
        long window = config.switchedWindow(4_096);
        int full = config.atLeast0("max_window_layers", 28);
        boolean[] sliding = config.sliding(stack.layers(), window, layer -> window > 0 && layer >= full);
        DecoderConfig.Attention attention = config.attention(
                        stack, positions, RotaryReader.Habits.theta(10_000), projections)
                .withWindow(window);
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false),
                config.rmsNorm(1e-6, 0),
                DecoderConfig.Residual.PLAIN,
                config.layers(stack, attention, config.gatedMlp(false), sliding),
                config.heads());
    }
}
