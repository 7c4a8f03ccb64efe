package org.peft4j.model;

import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.ops.Ops;

/**
 * How a model is loaded.
 *
 * @param bfloat16 store the frozen weights in bfloat16, else in float32
 * @param dropout train with the dropout of the model's config, as transformers does; false: none
 * @param seed of what the directory does not have (a new head)
 */
public record ModelOptions(boolean bfloat16, boolean dropout, long seed) {
    public static ModelOptions defaults() {
        return new ModelOptions(false, true, 0);
    }

    /** Type of the frozen matrices and embedding tables. */
    public ScalarType storage() {
        return bfloat16 ? ScalarType.BFloat16 : ScalarType.Float;
    }

    /**
     * Type of the activations. bfloat16 only where the processor multiplies it natively; elsewhere its emulation would be
     * many times slower than float32, so the weights are widened for each product.
     */
    public ScalarType compute() {
        return bfloat16 && Ops.hasNativeBfloat16() ? ScalarType.BFloat16 : ScalarType.Float;
    }
}
