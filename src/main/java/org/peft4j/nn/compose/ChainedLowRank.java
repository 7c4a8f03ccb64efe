package org.peft4j.nn.compose;

import java.util.List;
import java.util.function.Function;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.seam.LowRank;

/**
 * A low-rank update that reads what others add to a square layer, in place of x: {@code s2 B2 A2 (s1 B1 A1 x)}, of which only this is
 * added. Several of one side are a sum.
 */
record ChainedLowRank(List<LowRank> first, List<LowRank> second) implements LowRank {
    ChainedLowRank {
        first = List.copyOf(first);
        second = List.copyOf(second);
    }

    @Override
    public Tensor a() {
        return joined(first, LowRank::a, 0);
    }

    @Override
    public Tensor b() {
        return scaled(second).matmul(joined(second, LowRank::a, 0).matmul(scaled(first)));
    }

    @Override
    public double scale() {
        return 1;
    }

    @Override
    public double dropout() {
        return 0;
    }

    private static Tensor scaled(List<LowRank> updates) {
        return joined(updates, update -> update.b().mul(new Scalar(update.scale())), 1);
    }

    private static Tensor joined(List<LowRank> updates, Function<LowRank, Tensor> factor, long along) {
        TensorVector parts = new TensorVector();
        updates.forEach(update -> parts.push_back(factor.apply(update)));
        return parts.size() == 1 ? parts.get(0) : torch.cat(parts, along);
    }
}
