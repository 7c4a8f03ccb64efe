package org.peft4j.method.bottleneck;

/**
 * A prefix beside the bottlenecks: keys and values in front of each layer's own, made of a small embedding by two layers with tanh between
 * them, as prefix tuning with a projection.
 *
 * @param virtualTokens length of the prefix; a text has at most (the model's positions - virtualTokens) tokens
 * @param encoderHiddenSize width between the two layers
 * @param sharedGate with gates, whether a layer's keys and values have one, or one each
 */
public record BottleneckPrefix(int virtualTokens, int encoderHiddenSize, boolean sharedGate) {
    private static final int MOST = 1 << 16;

    public BottleneckPrefix {
        check("virtualTokens", virtualTokens);
        check("encoderHiddenSize", encoderHiddenSize);
    }

    /** With gates, keys and values of a layer have one. */
    public BottleneckPrefix(int virtualTokens, int encoderHiddenSize) {
        this(virtualTokens, encoderHiddenSize, true);
    }

    private static void check(String name, int value) {
        if (value < 1 || value > MOST) {
            throw new IllegalArgumentException(name + " must be 1 to " + MOST + ", got " + value);
        }
    }

    /** Thirty tokens, made by layers with 800 between them: those of {@code mam}. */
    public static BottleneckPrefix defaults() {
        return new BottleneckPrefix(30, 800);
    }
}
