package org.peft4j.method.spi.miss;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;

/**
 * The sum of x's blocks of r inputs, by a fixed A of ones and zeros, and B.
 *
 * @param a [r, in]: 1 where the input's number is the row's and a multiple of r
 * @param block [r, columns]; their columns are taken again and again for all outputs
 */
record BlockSum(Tensor a, Parameter block, long out, double dropout) implements LowRank {
    @Override
    public Tensor b() {
        return block.value().t().repeat(out / block.value().size(1), 1).contiguous();
    }

    @Override
    public double scale() {
        return 1;
    }
}
