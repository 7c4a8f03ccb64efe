package org.peft4j.nn;

import java.util.function.DoubleSupplier;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.random.SplitMix64;

/**
 * First values of parameters. They depend on (seed, path) alone: not on the order in which parameters are made, nor on the
 * Java version. They are drawn in float64, row by row, and rounded to float32.
 */
public final class Init {
    private Init() {}

    /** Uniform in [-bound, bound). */
    public static Tensor uniform(long seed, String path, double bound, long... shape) {
        SplitMix64 random = new SplitMix64(Seeds.mix(seed, path));
        return fill(shape, () -> (2 * random.uniform() - 1) * bound);
    }

    /** Normal with mean 0. */
    public static Tensor normal(long seed, String path, double std, long... shape) {
        SplitMix64 random = new SplitMix64(Seeds.mix(seed, path));
        return fill(shape, () -> random.normal() * std);
    }

    /** Normal with mean 0; what is beyond ±bound is drawn again. */
    public static Tensor truncatedNormal(long seed, String path, double std, double bound, long... shape) {
        SplitMix64 random = new SplitMix64(Seeds.mix(seed, path));
        return fill(shape, () -> {
            double value;
            do {
                value = random.normal() * std;
            } while (Math.abs(value) > bound);
            return value;
        });
    }

    /** Ones. */
    public static Tensor ones(long... shape) {
        return fill(shape, () -> 1);
    }

    /** Kaiming-uniform with a = √5 of a matrix [out, in]: uniform within 1/√in, what torch gives a linear layer. */
    public static Tensor kaiming(long seed, String path, long out, long in) {
        return uniform(seed, path, 1 / Math.sqrt(in), out, in);
    }

    private static Tensor fill(long[] shape, DoubleSupplier next) {
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
