package org.peft4j.nn;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
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
    private final Weight weight;
    private final @Nullable Tensor bias;
    private final List<LinearGroup> singles;

    private LinearGroup(List<Linear> layers) {
        this.layers = List.copyOf(layers);
        checkBiases(layers);
        weight = Weight.of(layers.stream().map(Linear::weight).toList());
        bias = layers.get(0).bias() == null
                ? null
                : Scopes.owned(
                        () -> joinedBias(layers.stream().map(Linear::bias).toList()));
        singles = layers.size() == 1
                ? List.of(this)
                : layers.stream().map(LinearGroup::of).toList();
    }

    /**
     * @throws IllegalArgumentException if some layers have a bias and others have none: the joined product adds one to all of
     *     its columns or to none
     */
    public static LinearGroup of(Linear... layers) {
        return new LinearGroup(List.of(layers));
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
     * @param x [T, in]
     * @param rows how the rows of x belong to the context's sequences
     * @return [T, out] of each layer
     */
    public Tensor[] forward(Tensor x, Packing rows, ForwardContext context) {
        return Scopes.scopedAll(() -> {
            if (replacements(context.segments().get(0)).stream().allMatch(Optional::isEmpty) && sameForAll(context)) {
                return Ops.loraLinear(
                        x,
                        weight,
                        bias,
                        updates(rows, context),
                        context.seed(layers.get(0).path()));
            }
            if (sameForAll(context) && !replacesWeight(context.segments().get(0))) {
                Tensor joined = joinedBias(biases(context.segments().get(0), x));
                return Ops.loraLinear(
                        x,
                        weight,
                        joined,
                        updates(rows, context),
                        context.seed(layers.get(0).path()));
            }
            Tensor[] results = new Tensor[layers.size()];
            for (int i = 0; i < results.length; i++) {
                results[i] = singles.get(i).bySegment(x, rows, context);
            }
            return results;
        });
    }

    /** The only layer's result. */
    public Tensor forwardOne(Tensor x, Packing rows, ForwardContext context) {
        return forward(x, rows, context)[0];
    }

    // Rows whose adapters replace the weight or bias differently go through products of their own.
    private Tensor bySegment(Tensor x, Packing rows, ForwardContext context) {
        return context.bySegment(x, rows, segment -> segment, (segment, part, firstRow) -> {
            Optional<Parameter> replaced =
                    ForwardContext.replacement(segment, layers.get(0).weightPath());
            Tensor ownBias = biases(segment, part).get(0);
            if (replaced.isPresent()) {
                return Ops.linear(part, replaced.get().value().to(part.scalar_type()), ownBias);
            }
            List<Ops.LowRank> updates = new ArrayList<>();
            addUpdates(updates, segment, 0, part.size(0), context.training());
            return Ops.loraLinear(
                    part, weight, ownBias, updates, context.seed(layers.get(0).path() + "#" + firstRow))[0];
        });
    }

    private List<Ops.LowRank> updates(Packing rows, ForwardContext context) {
        List<Ops.LowRank> updates = new ArrayList<>();
        for (ForwardContext.Segment segment : context.segments()) {
            if (segment.last() > segment.first()) {
                addUpdates(
                        updates,
                        segment,
                        rows.begin(segment.first()),
                        rows.end(segment.last() - 1),
                        context.training());
            }
        }
        return updates;
    }

    private void addUpdates(
            List<Ops.LowRank> updates, ForwardContext.Segment segment, long begin, long end, boolean training) {
        for (Adapter adapter : segment.adapters()) {
            for (int i = 0; i < layers.size(); i++) {
                int part = i;
                adapter.lowRank(layers.get(i).path())
                        .ifPresent(claim -> updates.add(new Ops.LowRank(
                                part,
                                begin,
                                end,
                                claim.a(),
                                claim.b(),
                                claim.scale(),
                                training ? claim.dropout() : 0)));
            }
        }
    }

    private List<Optional<Parameter>> replacements(ForwardContext.Segment segment) {
        List<Optional<Parameter>> found = new ArrayList<>();
        for (Linear layer : layers) {
            found.add(ForwardContext.replacement(segment, layer.weightPath()));
            found.add(ForwardContext.replacement(segment, layer.biasPath()));
        }
        return found;
    }

    private boolean sameForAll(ForwardContext context) {
        List<ForwardContext.Segment> segments = context.segments();
        if (segments.size() == 1) {
            return true;
        }
        List<Optional<Parameter>> first = replacements(segments.get(0));
        return segments.stream().allMatch(segment -> replacements(segment).equals(first));
    }

    private boolean replacesWeight(ForwardContext.Segment segment) {
        return layers.stream()
                .anyMatch(layer ->
                        ForwardContext.replacement(segment, layer.weightPath()).isPresent());
    }

    private List<@Nullable Tensor> biases(ForwardContext.Segment segment, Tensor x) {
        List<@Nullable Tensor> biases = new ArrayList<>();
        for (Linear layer : layers) {
            Optional<Parameter> replaced = ForwardContext.replacement(segment, layer.biasPath());
            biases.add(replaced.isPresent() ? replaced.get().value().to(x.scalar_type()) : layer.bias());
        }
        return biases;
    }

    private static Tensor joinedBias(List<@Nullable Tensor> biases) {
        if (biases.size() == 1) {
            return biases.get(0).alias();
        }
        TensorVector all = new TensorVector();
        biases.forEach(all::push_back);
        return torch.cat(all, 0);
    }

    @Override
    public void close() {
        weight.close();
        if (bias != null) {
            bias.close();
        }
        if (layers.size() > 1) {
            singles.forEach(LinearGroup::close);
        }
    }
}
