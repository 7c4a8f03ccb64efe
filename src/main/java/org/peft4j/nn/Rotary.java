package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;

/**
 * Rotary position embedding of a model: turns queries and keys by their rows' positions. Owns the frequencies. Immutable and
 * safe from many threads.
 */
public final class Rotary implements AutoCloseable {
    private final RotaryFrequencies frequencies;
    private final Tensor usual;

    public Rotary(RotaryFrequencies frequencies) {
        this.frequencies = frequencies;
        usual = Scopes.owned(() -> tensor(0));
    }

    private Tensor tensor(long length) {
        float[] values = frequencies.of(length);
        return Tensors.ofFloats(values, values.length);
    }

    /** Positions up to which rows are turned the same however long their sequence is. */
    public long sameUpTo() {
        return frequencies.extension().sameUpTo();
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
                while (last < sequences && grown(context, last) == grown(context, first)) {
                    last++;
                }
                long begin = rows.begin(first);
                long n = rows.end(last - 1) - begin;
                long length = grown(context, first);
                Ops.Rotated part = Ops.rotary(
                        q.narrow(0, begin, n),
                        k.narrow(0, begin, n),
                        positions.narrow(0, begin, n),
                        length == 0 ? usual : tensor(length),
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

    /** The length of a sequence that has frequencies of its own, else 0. */
    private long grown(ForwardContext context, int sequence) {
        long length = context.firstPosition(sequence) + context.packing().length(sequence);
        return length > sameUpTo() ? length : 0;
    }

    @Override
    public void close() {
        usual.close();
    }
}
