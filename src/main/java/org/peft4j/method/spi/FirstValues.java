package org.peft4j.method.spi;

import org.bytedeco.pytorch.Tensor;

/** How a trained tensor begins. */
@FunctionalInterface
public interface FirstValues {
    /**
     * The values, float32 on the CPU.
     *
     * @param seed of the adapter
     * @param path of the tensor; values depend on both alone
     */
    Tensor of(long seed, String path);
}
