package org.peft4j.nn;

import java.util.SplittableRandom;
import org.bytedeco.pytorch.Tensor;

/** First values of parameters. They depend on (seed, path) alone, not on the order in which parameters are made. */
public final class Init {
    private Init() {}

    /** Uniform in (-bound, bound). */
    public static Tensor uniform(long seed, String path, double bound, long... shape) {
        SplittableRandom random = new SplittableRandom(Seeds.mix(seed, path));
        return fill(shape, () -> (2 * random.nextDouble() - 1) * bound);
    }

    /** Normal with mean 0. */
    public static Tensor normal(long seed, String path, double std, long... shape) {
        SplittableRandom random = new SplittableRandom(Seeds.mix(seed, path));
        return fill(shape, () -> random.nextGaussian() * std);
    }

    /** Kaiming-uniform with a = √5 of a matrix [out, in]: uniform within 1/√in, what torch gives a linear layer. */
    public static Tensor kaiming(long seed, String path, long out, long in) {
        return uniform(seed, path, 1 / Math.sqrt(in), out, in);
    }

    private static Tensor fill(long[] shape, java.util.function.DoubleSupplier next) {
        long n = 1;
        for (long size : shape) {
            n = Math.multiplyExact(n, size);
        }
        float[] values = new float[Math.toIntExact(n)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) next.getAsDouble();
        }
        return Tensors.ofFloats(values, shape);
    }
}
