package org.peft4j.method.spi.poly;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.RowTasks;
import org.peft4j.nn.seam.TaskLowRank;
import org.peft4j.ops.Device;
import org.peft4j.random.SplitMix64;

/**
 * A layer's skills, mixed for each task; while training for each sequence, whose weights are drawn. What is drawn depends on the
 * call's seed, the layer and the sequence's number in the call alone.
 *
 * @param a [splits, skills, in / splits, r]
 * @param b [splits, skills, r, out / splits]
 * @param logits [tasks, splits · skills]
 */
record MixedSkills(Parameter a, Parameter b, Parameter logits) implements TaskLowRank {
    private static final double SMALLEST = 1e-12; // PEFT's, so that weights that are all 0 stay 0
    private static final double EPSILON =
            0x1p-23; // float32's: what is drawn stays so far from 0 and 1, as torch has it

    /** A [r, in] and B [out, r] of a task. */
    private record Mixed(Tensor a, Tensor b) implements LowRank {
        @Override
        public double scale() {
            return 1.0 / a.size(0);
        }

        @Override
        public double dropout() {
            return 0;
        }
    }

    @Override
    public List<LowRank> updates(int[] sequences, int[] tasks, ForwardContext context) {
        int[] own = Arrays.stream(tasks).map(this::checked).toArray();
        if (context.training()) {
            return mixed(weights(chosen(own).add(noise(sequences, context))));
        }
        int[] distinct = Arrays.stream(own).distinct().sorted().toArray();
        List<LowRank> mixed = mixed(weights(chosen(distinct)));
        List<LowRank> updates = new ArrayList<>();
        for (int task : own) {
            updates.add(mixed.get(Arrays.binarySearch(distinct, task)));
        }
        return updates;
    }

    private int checked(int task) {
        long count = logits.shape()[0];
        if (task >= count || task == RowTasks.NONE && count > 1) {
            throw new IllegalStateException("a row of " + logits.path() + " must be of one of its " + count + " tasks, "
                    + (task == RowTasks.NONE ? "it says none" : "got " + task));
        }
        return Math.max(0, task);
    }

    /** Z of some tasks, [n, splits · skills]: row by row, so that rows of one task add to its gradient in their order. */
    private Tensor chosen(int[] tasks) {
        TensorVector rows = new TensorVector();
        for (int task : tasks) {
            rows.push_back(logits.value().narrow(0, task, 1));
        }
        return torch.cat(rows, 0);
    }

    /** Of a logistic distribution: σ(z + noise) is relaxed Bernoulli of temperature 1. */
    private Tensor noise(int[] sequences, ForwardContext context) {
        int width = Math.toIntExact(logits.shape()[1]);
        float[] values = new float[sequences.length * width];
        int at = 0;
        for (int sequence : sequences) {
            SplitMix64 random = new SplitMix64(context.seed(logits.path() + "#" + sequence));
            for (int i = 0; i < width; i++) {
                double u = Math.min(1 - EPSILON, Math.max(EPSILON, random.uniform()));
                values[at++] = (float) (StrictMath.log(u) - StrictMath.log1p(-u));
            }
        }
        return Tensors.ofFloats(Device.of(logits.value()), values, sequences.length, width);
    }

    /** [splits, n, skills], which are 1 together for each split. */
    private Tensor weights(Tensor z) {
        Tensor weights = z.sigmoid().view(z.size(0), a.shape()[0], a.shape()[1]);
        Tensor sum = weights.sum(new long[] {2}, true, new ScalarTypeOptional());
        return weights.div(sum.add(new Scalar(SMALLEST))).transpose(0, 1);
    }

    private List<LowRank> mixed(Tensor weights) {
        long splits = a.shape()[0];
        long skills = a.shape()[1];
        long inputs = a.shape()[2];
        long r = a.shape()[3];
        long outputs = b.shape()[3];
        long n = weights.size(1);
        Tensor ofA = weights.bmm(a.value().view(splits, skills, inputs * r))
                .view(splits, n, inputs, r)
                .permute(1, 3, 0, 2)
                .reshape(n, r, splits * inputs);
        Tensor ofB = weights.bmm(b.value().view(splits, skills, r * outputs))
                .view(splits, n, r, outputs)
                .permute(1, 0, 3, 2)
                .reshape(n, splits * outputs, r);
        List<LowRank> mixed = new ArrayList<>();
        for (long i = 0; i < n; i++) {
            mixed.add(new Mixed(ofA.select(0, i), ofB.select(0, i)));
        }
        return mixed;
    }
}
