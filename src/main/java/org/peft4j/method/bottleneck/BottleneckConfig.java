package org.peft4j.method.bottleneck;

import java.util.List;
import org.peft4j.method.MethodConfig;

/**
 * Settings of a bottleneck adapter behind each block's MLP, as {@code seq_bn} of AdapterHub's library:
 * {@code h + W_up act(W_down norm(h + x) + c_down) + c_up}, where h is the MLP's output and x what goes around it. Near to no change at the
 * start.
 *
 * @param reductionFactor width of a row through that of the bottleneck
 * @param activation between the two layers
 * @param dropout probability of dropping an element of what is added, while training, 0 to below 1
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2005.00247">AdapterFusion: Non-Destructive Task Composition for Transfer Learning</a>
 */
public record BottleneckConfig(int reductionFactor, Activation activation, double dropout, List<String> modulesToSave)
        implements MethodConfig {
    /** Functions between the two layers. */
    public enum Activation {
        /** max(0, x). */
        RELU,
        /** x Φ(x), with the error function. */
        GELU,
        /** x times its sigmoid, as SiLU. */
        SWISH
    }

    public BottleneckConfig {
        if (reductionFactor < 1) {
            throw new IllegalArgumentException("reductionFactor must be at least 1, got " + reductionFactor);
        }
        if (!(dropout >= 0 && dropout < 1)) { // also refuses NaN
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** A sixteenth of the width, ReLU, no dropout. */
    public static BottleneckConfig defaults() {
        return new BottleneckConfig(16, Activation.RELU, 0, List.of());
    }

    @Override
    public BottleneckConfig withModulesToSave(List<String> modules) {
        return new BottleneckConfig(reductionFactor, activation, dropout, modules);
    }
}
