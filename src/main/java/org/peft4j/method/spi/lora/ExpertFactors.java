package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.method.spi.TruncatedSvd;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ExpertsPoint;

/**
 * A and B of an update of all experts' matrices, with a scale of 1, as {@link LoraOfExperts} has them.
 *
 * @param a [E r, in]
 * @param b [out, r E]
 * @param rank r: the largest that an expert needs, where the others have zeros
 * @param lost squares of what they do not say
 * @param all squares of the update
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record ExpertFactors(float[] a, float[] b, int rank, double lost, double all) {
    /**
     * By the largest singular values.
     *
     * @param delta [E, out, in], float32 on the CPU
     * @param most rank; 0: as many as the update has, but for rounding
     */
    static ExpertFactors of(ExpertsPoint point, Tensor delta, int most) {
        List<TruncatedSvd> each = new ArrayList<>();
        int[] kept = new int[Math.toIntExact(point.experts())];
        int rank = 0;
        double lost = 0;
        double all = 0;
        for (int e = 0; e < kept.length; e++) {
            TruncatedSvd svd = TruncatedSvd.exact(delta.select(0, e), Math.min(point.in(), point.out()));
            float[] values = Tensors.toFloats(svd.s());
            kept[e] = LoraOfUpdate.kept(values, most);
            lost += LoraOfUpdate.squares(values, kept[e]);
            all += LoraOfUpdate.squares(values, 0);
            rank = Math.max(rank, kept[e]);
            each.add(svd);
        }
        if (rank == 0) {
            return new ExpertFactors(new float[0], new float[0], 0, lost, all);
        }
        TensorVector as = new TensorVector();
        TensorVector bs = new TensorVector();
        for (int e = 0; e < kept.length; e++) {
            Tensor a = Tensors.zeros(rank, point.in());
            Tensor b = Tensors.zeros(point.out(), rank);
            TruncatedSvd svd = each.get(e);
            Tensor root = svd.s().narrow(0, 0, kept[e]).sqrt();
            a.narrow(0, 0, kept[e]).copy_(svd.vt().narrow(0, 0, kept[e]).mul(root.unsqueeze(1)));
            b.narrow(1, 0, kept[e]).copy_(svd.u().narrow(1, 0, kept[e]).mul(root.unsqueeze(0)));
            as.push_back(a);
            bs.push_back(b);
        }
        // of B the ranks stand outside: [out, r, E]
        return new ExpertFactors(
                Tensors.toFloats(torch.cat(as, 0)), Tensors.toFloats(torch.stack(bs, 2)), rank, lost, all);
    }
}
