package org.peft4j.method.spi.gralora;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/**
 * k times k low-rank blocks as one low-rank update, whose rank counts through (columns of blocks, rows of blocks, rank of a block):
 * A and B are zero where a part of the rank belongs to another block. So there is one dropout of x for all, as in PEFT.
 *
 * @param blocksA [k, in / k, r], for each column of blocks those of all rows side by side
 * @param blocksB [k, r, out / k], for each row of blocks those of all columns one below the other
 * @param general A [h, in] and B [out, h] of the whole matrix, or null
 */
record BlockProducts(
        Parameter blocksA, Parameter blocksB, @Nullable General general, double scale, double dropout)
        implements LowRank {
    /** A and B of the whole matrix. */
    record General(Parameter a, Parameter b) {}

    @Override
    public Tensor a() {
        Tensor a = blocksA.value();
        long k = a.size(0);
        long inputs = a.size(1);
        long r = a.size(2);
        Tensor blocks =
                a.transpose(1, 2).unsqueeze(2).mul(one(a).view(k, 1, k, 1)).reshape(k * r, k * inputs);
        return general == null ? blocks : joined(blocks, general.a().value(), 0);
    }

    @Override
    public Tensor b() {
        Tensor b = blocksB.value();
        long k = b.size(0);
        long r = b.size(1);
        long outputs = b.size(2);
        Tensor blocks = b.view(k, k, r / k, outputs)
                .permute(0, 3, 1, 2) // [row of blocks, output, column of blocks, rank of a block]
                .unsqueeze(3)
                .mul(one(b).view(k, 1, 1, k, 1))
                .reshape(k * outputs, k * r);
        return general == null ? blocks : joined(blocks, general.b().value(), 1);
    }

    private static Tensor one(Tensor like) {
        return torch.eye(like.size(0), Device.of(like).options(like.scalar_type()));
    }

    private static Tensor joined(Tensor one, Tensor other, long dimension) {
        return torch.cat(new TensorVector(one, other), dimension);
    }
}
