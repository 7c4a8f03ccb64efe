package org.peft4j.nn;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;
import org.peft4j.ops.Weight;

/**
 * Linear layers that read the same x (query, key and value of a block, for example): one product, one pass over x for all
 * adapters, one dropout mask. Hugging Face draws a mask for each layer; sharing it is deliberate, the layers see one x.
 *
 * <p>Immutable and safe from many threads.
 */
public final class LinearGroup implements AutoCloseable {
    private final List<Linear> layers;
    private final List<LinearClaims.Place> places;
    private final Weight weight;
    private final @Nullable Tensor bias;
    private final List<LinearGroup> singles;
    private final boolean owns;

    private LinearGroup(List<Linear> layers) {
        this.layers = List.copyOf(layers);
        checkBiases(layers);
        places = layers.stream().map(LinearClaims.Place::of).toList();
        weight = Weight.of(layers.stream().map(Linear::weight).toList());
        bias = layers.get(0).bias() == null
                ? null
                : Scopes.owned(() -> joined(layers.stream().map(Linear::bias).toList()));
        singles = layers.size() == 1
                ? List.of(this)
                : layers.stream().map(LinearGroup::of).toList();
        owns = true;
    }

    /** Of other paths, with the matrix and bias of a group that lives as long. */
    private LinearGroup(List<Linear> layers, LinearGroup of) {
        this.layers = List.copyOf(layers);
        places = layers.stream().map(LinearClaims.Place::of).toList();
        weight = of.weight;
        bias = of.bias;
        singles = layers.size() == 1
                ? List.of(this)
                : IntStream.range(0, layers.size())
                        .mapToObj(i -> new LinearGroup(List.of(layers.get(i)), of.singles.get(i)))
                        .toList();
        owns = false;
    }

    /**
     * @throws IllegalArgumentException if some layers have a bias and others have none: the joined product adds one to all of
     *     its columns or to none
     */
    public static LinearGroup of(Linear... layers) {
        return new LinearGroup(List.of(layers));
    }

    /**
     * A group of layers with other paths and the same tensors: it computes with this one's matrix, closes nothing, and must not be
     * used once this one is closed. Adapters find it by its own paths.
     */
    public LinearGroup sharedBy(Linear... others) {
        for (int i = 0; i < layers.size(); i++) {
            if (others.length != layers.size()
                    || others[i].weight() != layers.get(i).weight()) {
                throw new IllegalArgumentException("layers that share a group must have its tensors");
            }
        }
        return new LinearGroup(List.of(others), this);
    }

    private static void checkBiases(List<Linear> layers) {
        Linear first = layers.get(0);
        for (Linear layer : layers) {
            if ((layer.bias() == null) != (first.bias() == null)) {
                Linear with = first.bias() == null ? layer : first;
                Linear without = first.bias() == null ? first : layer;
                throw new IllegalArgumentException("layers of a group must all have a bias or none, but " + with.path()
                        + " has one and " + without.path() + " has not; give " + without.path()
                        + " a bias of zeros, or a group of its own");
            }
        }
    }

    public List<Linear> layers() {
        return layers;
    }

    /** The joined frozen matrix. */
    public Weight weight() {
        return weight;
    }

    /** The points of these layers. */
    public List<LinearPoint> points(boolean head) {
        return layers.stream()
                .map(layer -> new LinearPoint(
                        layer.path(), layer.weight().size(1), layer.weight().size(0), head))
                .toList();
    }

    /**
     * {@code y_i = W_i x + b_i} for each layer i, with all that adapters claim there ({@link org.peft4j.nn.seam.LinearClaim}
     * has the formula). W and b are frozen or replaced.
     *
     * @param x [T, in]
     * @param rows how the rows of x belong to the context's sequences
     * @return [T, out] of each layer
     */
    public Tensor[] forward(Tensor x, Packing rows, ForwardContext context) {
        return Scopes.scopedAll(() -> {
            List<LinearClaims> runs = context.plan(this, () -> LinearClaims.runs(places, context));
            if (runs.size() == 1) {
                return forward(x, runs.get(0), rows, context);
            }
            List<Tensor[]> parts = new ArrayList<>();
            for (LinearClaims run : runs) {
                parts.add(forward(run.rowsOf(x, rows), run, rows, context));
            }
            return concatenated(parts);
        });
    }

    /** The only layer's result. */
    public Tensor forwardOne(Tensor x, Packing rows, ForwardContext context) {
        return forward(x, rows, context)[0];
    }

    /** The rows of one run of sequences, which share everything but low-rank updates. */
    private Tensor[] forward(Tensor x, LinearClaims run, Packing rows, ForwardContext context) {
        Tensor[] y = new Tensor[layers.size()];
        double dropped = layers.size() == 1 && context.training() ? run.inputDropout(0) : 0;
        if (layers.size() > 1
                && (!run.joint() || context.training() && run.dropsInput() || anyWhole(x, run, rows, context))) {
            for (int i = 0; i < y.length; i++) {
                y[i] = singles.get(i).forward(x, run.only(i), rows, context)[0];
            }
            return y;
        }
        boolean whole = dropped == 0 && layers.size() == 1 && run.isWhole(0, x, rows, context);
        Tensor input = whole && run.turnsMatrix(0) ? x : run.input(0, x);
        Tensor read = Ops.dropout(input, dropped, seed(run, rows, context));
        Tensor replaced = run.weight(0);
        if (replaced != null) {
            y[0] = Ops.linear(read, replaced.to(x.scalar_type()), run.bias(0, x));
        } else if (whole) {
            y[0] = Ops.linear(read, run.whole(0), run.bias(0, x));
        } else {
            Tensor b = run.hasFrozenBiases() ? bias : joined(run.biases(x));
            List<Ops.LowRankUpdate> updates = run.updates(rows, context, context.training() && dropped == 0);
            y = Ops.loraLinear(read, weight, b, updates, seed(run, rows, context));
        }
        for (int i = 0; i < y.length; i++) {
            if (!whole) {
                y[i] = run.product(i, read, y[i], context.training(), seed(run, rows, context));
            }
            y[i] = run.mixed(i, read, y[i], rows, context, seed(run, rows, context));
            if (dropped > 0) { // what was dropped goes through the frozen weight as it is
                y[i] = y[i].add(Ops.loraLinear(input.sub(read), weight, null, List.of(), 0)[0]);
            }
            y[i] = run.output(i, y[i]);
        }
        return y;
    }

    private boolean anyWhole(Tensor x, LinearClaims run, Packing rows, ForwardContext context) {
        return IntStream.range(0, layers.size()).anyMatch(i -> run.isWhole(i, x, rows, context));
    }

    private long seed(LinearClaims run, Packing rows, ForwardContext context) {
        if (!context.training()) {
            return 0;
        }
        String path = layers.get(0).path();
        long first = run.firstRow(rows);
        return context.seed(first == 0 ? path : path + "#" + first);
    }

    private static Tensor joined(List<Tensor> biases) {
        if (biases.size() == 1) {
            return biases.get(0).alias();
        }
        TensorVector all = new TensorVector();
        biases.forEach(all::push_back);
        return torch.cat(all, 0);
    }

    private static Tensor[] concatenated(List<Tensor[]> parts) {
        Tensor[] results = new Tensor[parts.get(0).length];
        for (int i = 0; i < results.length; i++) {
            TensorVector own = new TensorVector();
            for (Tensor[] part : parts) {
                own.push_back(part[i]);
            }
            results[i] = torch.cat(own, 0);
        }
        return results;
    }

    @Override
    public void close() {
        if (!owns) {
            return;
        }
        weight.close();
        if (bias != null) {
            bias.close();
        }
        if (layers.size() > 1) {
            singles.forEach(LinearGroup::close);
        }
    }
}
