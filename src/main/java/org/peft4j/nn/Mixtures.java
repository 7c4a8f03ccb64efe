package org.peft4j.nn;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.LowRankMixture;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.ops.Ops;

/**
 * Weighted sums of low-rank updates: all A in one product and all B in another, and between them a row's weights on its
 * intermediate vectors.
 */
final class Mixtures {
    private Mixtures() {}

    /**
     * {@code Σ_e w_e ∘ (scale_e B_e A_e dropout_e(x))}.
     *
     * @param x [T, in]
     * @param weights [T, experts], float32
     * @param training whether elements of x are dropped, by this seed; updates that drop alike have one mask
     * @return [T, out] of x's type
     */
    static Tensor of(List<LowRankMixture.Part> parts, Tensor x, Tensor weights, boolean training, long seed) {
        TensorVector b = new TensorVector();
        TensorVector columns = new TensorVector();
        for (LowRankMixture.Part part : parts) {
            LowRank update = part.update();
            b.push_back(update.b());
            long rank = update.b().size(1);
            columns.push_back(weights.narrow(1, part.expert(), 1)
                    .mul(new Scalar(update.scale()))
                    .expand(x.size(0), rank));
        }
        Tensor z = down(parts, x, training, seed).to(ScalarType.Float).mul(torch.cat(columns, 1));
        return Ops.linear(z.to(x.scalar_type()), torch.cat(b, 1).to(x.scalar_type()), null);
    }

    /** All {@code A_e dropout_e(x)}, one beside the other: [T, sum of the ranks]. */
    private static Tensor down(List<LowRankMixture.Part> parts, Tensor x, boolean training, long seed) {
        double first = parts.get(0).update().dropout();
        if (!training || parts.stream().allMatch(part -> part.update().dropout() == first)) {
            TensorVector a = new TensorVector();
            parts.forEach(part -> a.push_back(part.update().a()));
            Tensor read = training ? Ops.dropout(x, first, seed) : x;
            return Ops.linear(read, torch.cat(a, 0).to(x.scalar_type()), null);
        }
        TensorVector each = new TensorVector();
        for (LowRankMixture.Part part : parts) {
            Tensor read = Ops.dropout(x, part.update().dropout(), Seeds.mix(seed, "expert " + part.expert()));
            each.push_back(Ops.linear(read, part.update().a().to(x.scalar_type()), null));
        }
        return torch.cat(each, 1);
    }
}
