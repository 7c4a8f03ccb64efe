package org.peft4j.method.spi;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Init;
import org.peft4j.nn.SequenceValues;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.LowRankMixture;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.ops.Ops;

/**
 * Gates of a part of an adapter (UniPELT, Mao et al. 2021): numbers between 0 and 1 of each sequence, the means over its rows of
 * {@code σ(W x + b)}, where x is what the part reads.
 *
 * <p>The mean is over the rows that the sequence has, inserted ones among them. In AdapterHub's library it is over padding, too, so that it
 * depends on the longest text of the batch; here a text has the same gates in every batch, deliberately. With a cache of keys and
 * values a gate sees the rows of the call, as in that library: those of the prompt first, then one token's at each step. And it sees all of
 * a text's rows, whatever attention hides: where a decoder is trained on whole texts, its first rows are gated by later ones, too.
 *
 * @param weight W [gates, in]
 * @param bias b [gates]
 */
public record SequenceGate(Parameter weight, Parameter bias) {
    /** The group of its parameters. */
    public static final String GROUP = "gate";

    private static final double STD = 0.02;

    /** New gates, normal around 0 with a deviation of 0.02; the adapter gets their parameters, and all rows of its sequences. */
    public static SequenceGate fresh(Adapter.Builder builder, String path, long gates, long in, long seed) {
        String w = path + ".weight";
        SequenceGate gate = new SequenceGate(
                Parameter.of(w, GROUP, () -> Init.normal(seed, w, STD, gates, in)),
                Parameter.of(path + ".bias", GROUP, () -> Tensors.zeros(gates)));
        builder.parameter(gate.weight).parameter(gate.bias).readsAllRows();
        return gate;
    }

    /** Number of elements of so many gates. */
    public static long elements(long gates, long in) {
        return gates * (in + 1);
    }

    /**
     * The gates of each sequence.
     *
     * @param x what the part reads, [T, in]
     * @return [sequences, gates], float32
     */
    public Tensor of(Tensor x, SequenceRows rows, ForwardContext context) {
        Tensor each = Ops.linear(x.to(ScalarType.Float), weight.value(), bias.value());
        return SequenceValues.means(each.sigmoid(), rows, context);
    }

    /** The same for each row, [T, gates]. */
    public Tensor ofRows(Tensor x, SequenceRows rows, ForwardContext context) {
        return SequenceValues.ofRows(of(x, rows, context), rows, context);
    }

    /** A low-rank update of a linear layer times this gate, which reads what the layer reads, before any dropout. */
    public LowRankMixture times(LowRank update) {
        return new Gated(this, List.of(new LowRankMixture.Part(0, update)));
    }

    private record Gated(SequenceGate gate, List<Part> parts) implements LowRankMixture {
        @Override
        public Tensor weights(Tensor x, SequenceRows rows, ForwardContext context) {
            return gate.ofRows(x, rows, context);
        }
    }
}
