package org.peft4j.method.spi.randlora;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.method.randlora.RandLoraConfig;
import org.peft4j.method.randlora.Sparsity;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.TorchRandom;

/**
 * A [r, 1, D] and B [E, N, r] of all layers, as PEFT draws them: D is the smaller, E the larger one of the most inputs and the
 * most outputs that a layer has, N = ⌈D / r⌉.
 */
record RandomBases(Tensor a, Tensor b) {
    static final String A = "randlora_A";
    static final String B = "randlora_B";

    static RandomBases of(RandLoraConfig config, AdaptedLayers layers) {
        long r = config.r();
        long small = Math.min(layers.mostIn(), layers.mostOut());
        long large = Math.max(layers.mostIn(), layers.mostOut());
        long products = products(small, r);
        boolean saved = config.bases().projection().saveProjection();
        Sparsity sparsity = config.bases().sparsity();
        try (TorchRandom random = new TorchRandom(config.bases().projection().projectionPrngKey())) {
            Supplier<Tensor> a; // drawn before B
            Supplier<Tensor> b;
            if (sparsity == Sparsity.DENSE) {
                a = () -> kaiming(random, small, r, 1, small);
                b = () -> dense(random, large, products, r);
            } else {
                double one = sparsity == Sparsity.SPARSE ? 3 : Math.sqrt(small);
                a = () -> signs(random, one, r, 1, small);
                b = () -> signs(random, one, large, products, r);
            }
            return new RandomBases(
                    layers.constant(A, saved, () -> scaled(a.get(), config), r, 1, small),
                    layers.constant(B, saved, () -> scaled(b.get(), config), large, products, r));
        }
    }

    /** How many products of rank r give full rank. */
    static long products(long small, long r) {
        return (small + r - 1) / r;
    }

    private static Tensor dense(TorchRandom random, long large, long products, long r) {
        TensorVector parts = new TensorVector();
        for (long n = 0; n < products; n++) {
            parts.push_back(kaiming(random, r, large, 1, r));
        }
        return torch.cat(parts, 1);
    }

    private static Tensor kaiming(TorchRandom random, long fan, long... shape) {
        double bound = Math.sqrt(3) * (Math.sqrt(2.0 / 6) / Math.sqrt(fan));
        return random.uniform(ScalarType.BFloat16, -bound, bound, shape);
    }

    /** -1 and 1 with a probability of 1 / (2 one) each, else 0. */
    private static Tensor signs(TorchRandom random, double one, long... shape) {
        Tensor drawn = random.uniform(ScalarType.Float, 0, 1, shape);
        Tensor plus = drawn.gt(new Scalar(1 - 1 / (2 * one))).to(ScalarType.Float);
        return plus.sub(drawn.lt(new Scalar(1 / (2 * one))).to(ScalarType.Float));
    }

    /** Over the standard deviation, which is rounded to the type of the drawn numbers, as the quotient is. */
    private static Tensor scaled(Tensor drawn, RandLoraConfig config) {
        Tensor values = drawn.div(drawn.std()).to(ScalarType.Float);
        if (!values.isfinite().all().item_bool()) {
            throw new IllegalArgumentException("sparsity must leave elements of the random matrices, got "
                    + config.bases().sparsity() + " with which those of the seed "
                    + config.bases().projection().projectionPrngKey()
                    + " are all the same; take another seed, or a larger r");
        }
        return values;
    }
}
