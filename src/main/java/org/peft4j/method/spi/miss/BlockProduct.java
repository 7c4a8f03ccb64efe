package org.peft4j.method.spi.miss;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;

/**
 * {@code ΔW = W B + B} in each block of r rows and r columns, with one B for all blocks of the same rows.
 *
 * @param weight gives the frozen W [out, in]
 * @param block [out / r, r, r]
 */
record BlockProduct(Supplier<Tensor> weight, Parameter block) implements WeightDelta {
    @Override
    public Tensor matrix() {
        Tensor w = weight.get();
        Tensor b = block.value();
        long r = b.size(1);
        long out = w.size(0);
        long in = w.size(1);
        Tensor blocks = w.reshape(out / r, r, in / r, r).permute(2, 0, 1, 3); // [in / r, out / r, r, r]
        return blocks.matmul(b).add(b).permute(1, 2, 0, 3).reshape(out, in);
    }
}
