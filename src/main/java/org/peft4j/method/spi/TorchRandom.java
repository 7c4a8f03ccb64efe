package org.peft4j.method.spi;

import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.ops.Device;

/** Random numbers that a reader of a file has to draw again, by libtorch's own generator for the CPU. For one thread. */
public final class TorchRandom implements AutoCloseable {
    private final Generator generator;

    public TorchRandom(long seed) {
        generator = torch.make_generator_cpu(seed);
    }

    /** The next numbers, uniform in [-bound, bound), float32. */
    public Tensor uniform(double bound, long... shape) {
        return uniform(ScalarType.Float, -bound, bound, shape);
    }

    /** The next numbers, uniform in [from, to), of this type. */
    public Tensor uniform(ScalarType type, double from, double to, long... shape) {
        Tensor values = torch.empty(shape, Device.CPU.options(type), null);
        return values.uniform_(from, to, new GeneratorOptional(generator));
    }

    /** The numbers from 0 to n - 1 in a random order, int64. */
    public Tensor permutation(long n) {
        return torch.randperm(n, new GeneratorOptional(generator), Device.CPU.options(ScalarType.Long));
    }

    @Override
    public void close() {
        generator.close();
    }
}
