package org.peft4j.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.ops.Weight;

/**
 * A language model's head of one matrix: its own, or the embedding's table (tied). An adapter that replaces one of two tied
 * tensors leaves the other as it is, as Hugging Face PEFT does.
 */
public final class LinearLanguageHead implements LanguageHead {
    /**
     * What becomes of logits.
     *
     * @param softcap c of {@code c tanh(z / c)}; 0: none
     * @param scale they are multiplied by it first
     */
    public record Logits(double softcap, double scale) {}

    private final Linear layer;
    private final Logits logits;
    private final LinearGroup output;
    private final LinearPoint linear;
    private final TensorPoint matrix;
    private final FrozenTensors owned;
    private final Points points;
    private final List<SequencePoint> fronts;

    /**
     * @param architecture its class in transformers, such as {@code LlamaForCausalLM}
     * @param layer the matrix, without a bias
     * @param owned what is closed with it: the tensors it has for itself
     * @param base points of the model behind which it stands
     */
    public LinearLanguageHead(String architecture, Linear layer, Logits logits, FrozenTensors owned, Points base) {
        this.layer = layer;
        this.logits = logits;
        this.owned = owned;
        output = LinearGroup.of(layer);
        linear = output.points(true).get(0);
        matrix = new TensorPoint(layer.weightPath(), layer.weight());
        fronts = base.all(SequencePoint.class);
        points = new Points(
                        base.modelType(),
                        architecture,
                        base.hiddenSize(),
                        base.layers(),
                        base.queryHeads(),
                        List.of(linear),
                        List.of(),
                        Map.of(layer.weightPath(), matrix),
                        List.of())
                .on(base.device());
    }

    @Override
    public Points points() {
        return points;
    }

    @Override
    public ReadRows reads() {
        return ReadRows.ALL;
    }

    @Override
    public String path() {
        return layer.path();
    }

    @Override
    public Weight weight() {
        return output.weight();
    }

    @Override
    public Tensor forward(Tensor h, Packing rows, ForwardContext context) {
        return Scopes.scoped(() -> logits(unembedded(h, rows, context), rows, context));
    }

    private Tensor logits(Tensor h, Packing rows, ForwardContext context) {
        Tensor z = output.forwardOne(scaled(h), rows, context).to(ScalarType.Float);
        Scalar cap = new Scalar(logits.softcap());
        return logits.softcap() == 0 ? z : z.div(cap).tanh().mul(cap);
    }

    /** In the space of the model's words, which adapters may have left. */
    private Tensor unembedded(Tensor h, Packing rows, ForwardContext context) {
        Tensor restored = h;
        for (SequencePoint front : fronts) {
            restored = context.unembedded(front, restored, rows);
        }
        return restored;
    }

    private Tensor scaled(Tensor h) {
        return logits.scale() == 1 ? h : h.mul(new Scalar(logits.scale()));
    }

    @Override
    public Tensor losses(Tensor h, Tensor labels, Packing rows, ForwardContext context) {
        if (context.segments().stream()
                .anyMatch(segment ->
                        context.at(linear).of(segment).stream().anyMatch(claim -> !(claim instanceof LowRank)))) {
            return Scopes.scoped(() -> losses(logits(unembedded(h, rows, context), rows, context), labels));
        }
        return Scopes.scoped(() -> tokenLosses(unembedded(h, rows, context), labels, rows, context));
    }

    private Tensor tokenLosses(Tensor h, Tensor labels, Packing rows, ForwardContext context) {
        Claims<Parameter> weights = context.at(matrix);
        Ops.LossSettings settings = new Ops.LossSettings(logits.softcap(), 0);
        return context.bySegment(scaled(h), rows, segment -> segment, (segment, part, firstRow) -> {
            Tensor own = labels.narrow(0, firstRow, part.size(0));
            Tensor trained = weights.one(segment, parameter -> parameter.value().to(part.scalar_type()), null);
            if (trained != null) {
                return Ops.tokenLosses(part, trained, null, own, settings);
            }
            long seed = context.seed(layer.path() + "#" + firstRow);
            return Ops.tokenLosses(
                    part, output.weight(), null, updates(segment, part.size(0), context), seed, own, settings);
        });
    }

    /** Of all logits in memory, where the matrix alone does not say what they are. */
    private static Tensor losses(Tensor z, Tensor labels) {
        Tensor there = Device.of(z).move(labels);
        Tensor log = torch.log_softmax(z, -1);
        Tensor counts = there.ge(new Scalar(0));
        Tensor own = there.clamp_min(new Scalar(0)).unsqueeze(1);
        return log.gather(1, own).squeeze(1).neg().mul(counts.to(ScalarType.Float));
    }

    private List<Ops.LowRankUpdate> updates(ForwardContext.Segment segment, long rows, ForwardContext context) {
        List<Ops.LowRankUpdate> updates = new ArrayList<>();
        for (LinearClaim claim : context.at(linear).of(segment)) {
            LowRank update = (LowRank) claim;
            if (!update.invocation().isEmpty()) {
                throw new IllegalStateException(
                        "a language model's head offers no update that acts on some rows alone");
            }
            updates.add(new Ops.LowRankUpdate(
                    new Ops.PartRows(0, 0, rows),
                    update.a(),
                    update.b(),
                    update.scale(),
                    context.training() ? update.dropout() : 0));
        }
        return updates;
    }

    @Override
    public void close() {
        output.close();
        owned.close();
    }
}
