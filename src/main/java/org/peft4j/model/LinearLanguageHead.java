package org.peft4j.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Ops;
import org.peft4j.ops.Weight;

/**
 * A language model's head of one matrix: its own, or the embedding's table (tied). An adapter that replaces one of two tied
 * tensors leaves the other as it is, as Hugging Face PEFT does.
 */
public final class LinearLanguageHead implements LanguageHead {
    private final Linear layer;
    private final LinearGroup output;
    private final FrozenTensors owned;
    private final Points points;

    /**
     * @param architecture its class in transformers, such as {@code LlamaForCausalLM}
     * @param layer the matrix, without a bias
     * @param owned what is closed with it: the tensors it has for itself
     * @param base points of the model behind which it stands
     */
    public LinearLanguageHead(String architecture, Linear layer, FrozenTensors owned, Points base) {
        this.layer = layer;
        this.owned = owned;
        output = LinearGroup.of(layer);
        points = new Points(
                base.modelType(),
                architecture,
                base.hiddenSize(),
                base.layers(),
                base.queryHeads(),
                output.points(true),
                List.of(),
                Map.of(layer.weightPath(), new TensorPoint(layer.weightPath(), layer.weight())),
                List.of());
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
        return Scopes.scoped(() -> output.forwardOne(h, rows, context).to(ScalarType.Float));
    }

    @Override
    public Tensor losses(Tensor h, Tensor labels, Packing rows, ForwardContext context) {
        return Scopes.scoped(() -> context.bySegment(h, rows, segment -> segment, (segment, part, firstRow) -> {
            Tensor own = labels.narrow(0, firstRow, part.size(0));
            Optional<Parameter> replaced = ForwardContext.replacement(segment, layer.weightPath());
            if (replaced.isPresent()) {
                Tensor trained = replaced.get().value().to(part.scalar_type());
                return Ops.tokenLosses(part, trained, null, own, Ops.LossSettings.PLAIN);
            }
            long seed = context.seed(layer.path() + "#" + firstRow);
            return Ops.tokenLosses(
                    part,
                    output.weight(),
                    null,
                    updates(segment, part.size(0), context.training()),
                    seed,
                    own,
                    Ops.LossSettings.PLAIN);
        }));
    }

    private List<Ops.LowRank> updates(ForwardContext.Segment segment, long rows, boolean training) {
        List<Ops.LowRank> updates = new ArrayList<>();
        for (Adapter adapter : segment.adapters()) {
            adapter.lowRank(layer.path())
                    .ifPresent(claim -> updates.add(new Ops.LowRank(
                            0, 0, rows, claim.a(), claim.b(), claim.scale(), training ? claim.dropout() : 0)));
        }
        return updates;
    }

    @Override
    public void close() {
        output.close();
        owned.close();
    }
}
