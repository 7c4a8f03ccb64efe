package org.peft4j.nn.compose;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.nn.seam.SublayerUpdate;
import org.peft4j.ops.Device;

/**
 * Each part's output on its range of every text: the tokens [begin, end) by their places in the whole text. Each part that has any
 * of the rows computes all of them, and its own are taken.
 *
 * @param begins first place of each part's range; that of the next one, and {@code end}, is behind it
 * @param behindNorm whether what stands behind the norm is given
 */
record SplitSublayer(List<SublayerChain> parts, List<Integer> begins, int end, boolean behindNorm)
        implements SublayerUpdate {
    SplitSublayer {
        parts = List.copyOf(parts);
        begins = List.copyOf(begins);
    }

    /** Which of the call's rows a range has; the same in every block of a call that computes the same rows. */
    private record Mask(int begin, int end, Packing packing, int first, int last) {}

    @Override
    public Tensor apply(Sublayer at, ForwardContext context) {
        Tensor y = null;
        for (int i = 0; i < parts.size(); i++) {
            int last = i + 1 < parts.size() ? begins.get(i + 1) : end;
            if (!any(at.rows(), begins.get(i), last)) {
                continue;
            }
            Tensor own = parts.get(i).apply(at, context, behindNorm);
            y = y == null ? own : torch.where(mask(at, context, begins.get(i), last), own, y);
        }
        return y == null ? at.output() : y;
    }

    private static boolean any(SequenceRows rows, int begin, int end) {
        for (int s = rows.first(); s < rows.last(); s++) {
            int first = rows.firstOf(s);
            if (Math.max(first, begin) < Math.min(first + rows.length(s), end)) {
                return true;
            }
        }
        return false;
    }

    private static Tensor mask(Sublayer at, ForwardContext context, int begin, int end) {
        SequenceRows rows = at.rows();
        return context.once(new Mask(begin, end, rows.packing(), rows.first(), rows.last()), () -> {
            long[] chosen = new long[Math.toIntExact(rows.rows())];
            for (int s = rows.first(); s < rows.last(); s++) {
                int from = (int) rows.begin(s);
                for (int i = 0; i < rows.length(s); i++) {
                    int place = rows.firstOf(s) + i;
                    chosen[from + i] = place >= begin && place < end ? 1 : 0;
                }
            }
            return Tensors.ofLongs(Device.of(at.output()), chosen, chosen.length)
                    .to(ScalarType.Bool)
                    .unsqueeze(1);
        });
    }
}
