package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/**
 * Rotary position embedding of a model: turns queries and keys by their rows' positions. Owns the frequencies. Immutable and
 * safe from many threads.
 */
public final class Rotary implements AutoCloseable {
    private final RotaryFrequencies frequencies;
    private final Device device;
    private final Tensor usual;

    public Rotary(RotaryFrequencies frequencies, Device device) {
        this.frequencies = frequencies;
        this.device = device;
        usual = Scopes.owned(() -> tensor(0));
    }

    private Tensor tensor(long length) {
        float[] values = frequencies.of(length);
        return Tensors.ofFloats(device, values, values.length);
    }

    /** Rows are turned the same in sequences of one version, see {@link RotaryFrequencies.Extension#version}. */
    public long version(long length) {
        return frequencies.extension().version(length);
    }

    /**
     * x [T, heads, D] turned.
     *
     * @param positions int64 [T]
     * @param rows how x's rows belong to the context's sequences
     */
    public Tensor turn(Tensor x, Tensor positions, Packing rows, ForwardContext context) {
        return turn(x, x.narrow(1, 0, 0), positions, rows, context).q();
    }

    /** q [T, heads, D] and k [T, key heads, D] of the same rows, turned. */
    public Ops.Rotated turn(Tensor q, Tensor k, Tensor positions, Packing rows, ForwardContext context) {
        Tensor[] turned = Scopes.scopedAll(() -> {
            TensorVector qs = new TensorVector();
            TensorVector ks = new TensorVector();
            int sequences = rows.sequences();
            for (int first = 0; first < sequences; ) {
                int last = first + 1;
                while (last < sequences && version(length(context, last)) == version(length(context, first))) {
                    last++;
                }
                long begin = rows.begin(first);
                long n = rows.end(last - 1) - begin;
                long length = length(context, first);
                Ops.Rotated part = Ops.rotary(
                        q.narrow(0, begin, n),
                        k.narrow(0, begin, n),
                        positions.narrow(0, begin, n),
                        version(length) == 0 ? usual : tensor(length),
                        frequencies.extension().scaling(),
                        false);
                if (n == q.size(0)) {
                    return new Tensor[] {part.q(), part.k()};
                }
                qs.push_back(part.q());
                ks.push_back(part.k());
                first = last;
            }
            return new Tensor[] {torch.cat(qs, 0), torch.cat(ks, 0)};
        });
        return new Ops.Rotated(turned[0], turned[1]);
    }

    /** Positions of a sequence up to its last row of this call. */
    private static long length(ForwardContext context, int sequence) {
        return context.firstPosition(sequence) + context.packing().length(sequence);
    }

    @Override
    public void close() {
        usual.close();
    }
}
