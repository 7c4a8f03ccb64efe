package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.method.lora.Combination;
import org.peft4j.nn.Init;

/**
 * Tensors of several adapters as one (Hugging Face PEFT's merge_utils).
 *
 * @param how without regard to whether it is of updates
 * @param density the part of the values that is kept, where some are left out
 * @param bySum whether the majority's sign is that of the sum of the values, else that of most of them
 * @param seed of the values that are left out at random
 */
record TaskArithmetic(Combination how, double density, boolean bySum, long seed) {
    private boolean random() {
        return how.name().startsWith("DARE");
    }

    private boolean elects() {
        return how.name().contains("TIES");
    }

    /**
     * The combination of tensors of one shape.
     *
     * @param path that random values depend on, beside the seed
     */
    Tensor of(List<Tensor> tensors, List<Double> weights, String path) {
        List<Tensor> kept = new ArrayList<>();
        for (int i = 0; i < tensors.size(); i++) {
            kept.add(how.prunes() && density < 1 ? pruned(tensors.get(i), path + "#" + i) : tensors.get(i));
        }
        Tensor sum = torch.zeros_like(kept.get(0));
        if (!elects()) {
            for (int i = 0; i < kept.size(); i++) {
                sum = sum.add(kept.get(i).mul(new Scalar(weights.get(i))));
            }
            return sum;
        }
        Tensor stacked = torch.stack(new TensorVector(kept.toArray(Tensor[]::new)), 0);
        Tensor votes = bySum ? stacked.sum(0) : stacked.sign().sum(0);
        Tensor sign = votes.ge(new Scalar(0.0))
                .to(ScalarType.Float)
                .mul(new Scalar(2.0))
                .sub(new Scalar(1.0));
        Tensor counted = torch.zeros_like(sum);
        for (int i = 0; i < kept.size(); i++) {
            Tensor agrees = kept.get(i).sign().eq(sign).to(ScalarType.Float);
            sum = sum.add(kept.get(i).mul(agrees).mul(new Scalar(weights.get(i))));
            counted = counted.add(agrees);
        }
        return sum.div(counted.clamp_min(new Scalar(1.0)));
    }

    private Tensor pruned(Tensor t, String path) {
        if (random()) {
            Tensor drawn = Init.uniform(seed, path, 1, t.numel()).view(t.sizes()); // in [-1, 1)
            Tensor mask = drawn.lt(new Scalar(2 * density - 1)).to(ScalarType.Float);
            return t.mul(mask).div(new Scalar(density));
        }
        long count = (long) (density * t.numel());
        Tensor flat = t.reshape(-1);
        Tensor indexes = flat.abs().topk(count).get1();
        return torch.zeros_like(flat)
                .index_copy(0, indexes, flat.index_select(0, indexes))
                .view(t.sizes());
    }
}
