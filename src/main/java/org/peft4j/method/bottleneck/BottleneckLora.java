package org.peft4j.method.bottleneck;

import java.util.Objects;
import org.peft4j.method.Targets;

/**
 * LoRA beside the bottlenecks: {@code y = W x + B A dropout(x)} at linear layers of blocks, or with gates {@code y = W x + g B A
 * dropout(x)}. There is no alpha: a gate takes the place of alpha/r, and without one it is 1.
 *
 * @param r rank
 * @param dropout probability of dropping an element of x on its way into A, while training, 0 to below 1
 * @param targets which linear layers; the model's usual ones are those of queries and values
 */
public record BottleneckLora(int r, double dropout, Targets targets) {
    public BottleneckLora {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        if (!(dropout >= 0 && dropout < 1)) { // also refuses NaN
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        Objects.requireNonNull(targets, "targets");
        if (targets instanceof Targets.None) {
            throw new IllegalArgumentException("targets must name at least one module, such as [query, value]");
        }
    }

    /** Rank 8 at the model's usual layers: that of {@code unipelt}. */
    public static BottleneckLora defaults() {
        return new BottleneckLora(8, 0, Targets.modelDefault());
    }

    /** The same settings with another rank. */
    public BottleneckLora withR(int value) {
        return new BottleneckLora(value, dropout, targets);
    }

    /** The same settings for other layers. */
    public BottleneckLora withTargets(Targets value) {
        return new BottleneckLora(r, dropout, value);
    }
}
