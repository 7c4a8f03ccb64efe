package org.peft4j.method.list;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of LiST's adapters: what a linear layer gives, bias included, goes through {@code y + W_2 W_1 y}, where W_1 [r, out] and W_2
 * [out, r] are trained; there is neither activation nor bias, so that it can be merged. Where nothing is said the layers are those that
 * each block's attention and MLP end in. The paper trains the head of the language model, too: {@code modulesToSave} says so, such as
 * {@code lm_head}.
 *
 * @param r rows of W_1, at most the outputs of a layer
 * @param initStd standard deviation of both matrices' first values, normal around 0
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a head
 * @see <a href="https://arxiv.org/abs/2110.06274">LiST: Lite Prompted Self-training Makes Parameter-Efficient Few-shot Learners</a>
 */
public record ListConfig(int r, double initStd, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public ListConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        if (!(initStd > 0 && initStd < Double.POSITIVE_INFINITY)) { // also refuses NaN
            throw new IllegalArgumentException(
                    "initStd must be above 0: of two matrices of zeros none is ever trained, got " + initStd);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** The authors': 128 rows, a deviation of 0.0002, behind attention and MLP of all blocks. */
    public static ListConfig defaults() {
        return new ListConfig(128, 0.0002, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another r. */
    public ListConfig withR(int value) {
        return new ListConfig(value, initStd, layers, modulesToSave);
    }

    /** The same settings with other first values. */
    public ListConfig withInitStd(double value) {
        return new ListConfig(r, value, layers, modulesToSave);
    }

    @Override
    public ListConfig withLayers(TargetLayers value) {
        return new ListConfig(r, initStd, value, modulesToSave);
    }

    @Override
    public ListConfig withModulesToSave(List<String> modules) {
        return new ListConfig(r, initStd, layers, modules);
    }
}
