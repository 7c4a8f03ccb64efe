package org.peft4j.model.decoder;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.model.FrozenTensors;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.ops.Weight;

/**
 * A mixture of experts (Shazeer et al. 2017): a router gives each row to the few gated MLPs with the highest shares, and what
 * they give is added up by these. Files have an expert's matrices by themselves, or those of all experts in one tensor.
 *
 * @see <a href="https://arxiv.org/abs/1701.06538">Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts
 *     Layer</a>
 */
final class SparseMlp implements DecoderMlp {
    /** Where older files have what is below {@code mlp}. */
    private static final String OLD_PATH = "block_sparse_moe";

    private final String path;
    private final DecoderConfig.Mlp config;
    private final DecoderConfig.Experts experts;
    private final LinearGroup router;
    private final List<Expert> all;
    private final List<Tensor> views = new ArrayList<>();
    private final ExpertsPoint gateUpPoint;
    private final ExpertsPoint downPoint;
    private final boolean shares; // another one's experts, which closes them

    /** @param gateUp [2 inner, C] of two parts */
    record Expert(Weight gateUp, Weight down) {}

    /** @param block of the layer, such as {@code model.layers.0.} */
    SparseMlp(String block, DecoderConfig.Mlp config, DecoderConfig.Experts experts, DecoderTensors tensors)
            throws IOException {
        this.config = config;
        this.experts = experts;
        FrozenTensors frozen = tensors.frozen();
        String name = tensors.names().block().mlp().module();
        path = block + (frozen.rows(block + OLD_PATH + ".gate.weight").isPresent() ? OLD_PATH : name);
        long c = tensors.config().stack().hiddenSize();
        router = tensors.group(tensors.linear(path + ".gate", experts.count(), c, false));
        long size = config.size();
        String list = path + ".experts.";
        List<List<String>> gateUps = new ArrayList<>();
        List<List<String>> downs = new ArrayList<>();
        List<Expert> known = tensors.experts().get(frozen.source(path));
        shares = known != null;
        all = known == null ? new ArrayList<>() : known;
        tensors.experts().put(frozen.source(path), all);
        if (frozen.rows(list + "gate_up_proj").isPresent()) {
            Tensor gateUp = frozen.fixed(list + "gate_up_proj", experts.count(), 2 * size, c);
            Tensor down = frozen.fixed(list + "down_proj", experts.count(), c, size);
            for (int e = 0; e < experts.count() && !shares; e++) {
                Tensor both = of(gateUp, e);
                add(part(both, 0, size), part(both, size, size), of(down, e));
            }
        } else {
            boolean old = frozen.rows(list + "0.w1.weight").isPresent();
            for (int e = 0; e < experts.count(); e++) {
                String gate = list + e + (old ? ".w1.weight" : ".gate_proj.weight");
                String up = list + e + (old ? ".w3.weight" : ".up_proj.weight");
                String down = list + e + (old ? ".w2.weight" : ".down_proj.weight");
                gateUps.add(List.of(gate, up));
                downs.add(List.of(down));
                add(frozen.fixed(gate, size, c), frozen.fixed(up, size, c), frozen.fixed(down, c, size));
            }
        }
        String module = block + name + ".experts."; // transformers' own, whatever the files have
        gateUpPoint = new ExpertsPoint(module + "gate_up_proj", experts.count(), c, 2 * size, gateUps);
        downPoint = new ExpertsPoint(module + "down_proj", experts.count(), size, c, downs);
    }

    private void add(Tensor gate, Tensor up, Tensor down) {
        if (shares) {
            return; // the tensors have their names, that is all
        }
        all.add(new Expert(Weight.of(List.of(gate, up)), Weight.of(List.of(down))));
    }

    private Tensor of(Tensor tensor, long expert) {
        return view(Scopes.owned(() -> tensor.select(0, expert)));
    }

    private Tensor part(Tensor tensor, long from, long rows) {
        return view(Scopes.owned(() -> tensor.narrow(0, from, rows)));
    }

    private Tensor view(Tensor view) {
        views.add(view);
        return view;
    }

    @Override
    public Tensor forward(Tensor x, Packing rows, ForwardContext context) {
        return Scopes.scoped(() -> {
            Tensor probabilities =
                    router.forwardOne(x, rows, context).to(ScalarType.Float).softmax(1);
            T_TensorTensor_T top = probabilities.topk(experts.chosen());
            Tensor weights = top.get0();
            Tensor chosen = top.get1();
            if (experts.normalised()) {
                weights = weights.div(weights.sum(new long[] {1}, true, new org.bytedeco.pytorch.ScalarTypeOptional()));
            }
            // Sorted by expert, rows in their order: how many each one has is all that a card is waited for.
            Tensor flat = chosen.reshape(-1);
            Tensor order = flat.argsort(true, 0, false);
            Tensor taken = order.floor_divide(new Scalar(experts.chosen()));
            Tensor shares =
                    weights.reshape(-1).index_select(0, order).unsqueeze(1).to(x.scalar_type());
            Tensor sum = torch.zeros_like(x);
            long first = 0;
            float[] counts = Tensors.toFloats(counts(flat));
            ExpertUpdates gateUp = updates(gateUpPoint, flat, counts, rows, context);
            ExpertUpdates down = updates(downPoint, flat, counts, rows, context);
            for (int e = 0; e < all.size(); e++) {
                long n = (long) counts[e];
                if (n > 0) {
                    Tensor own = taken.narrow(0, first, n);
                    Tensor y = forward(e, x.index_select(0, own), gateUp, down).mul(shares.narrow(0, first, n));
                    sum = sum.index_add(0, own, y);
                    first += n;
                }
            }
            return sum;
        });
    }

    /** How many of these numbers each expert is, [experts], float32. */
    private Tensor counts(Tensor chosen) {
        return Scopes.scoped(() -> {
            Tensor numbers = Tensors.ofInts(
                    Device.of(chosen), IntStream.range(0, all.size()).toArray());
            return chosen.unsqueeze(1).eq(numbers).to(ScalarType.Float).sum(0);
        });
    }

    /** What is claimed at the experts; the rows of each expert lie in the order of the sequences. */
    private ExpertUpdates updates(
            ExpertsPoint point, Tensor chosen, float[] counts, Packing rows, ForwardContext context) {
        return ExpertUpdates.of(context.at(point), context.segments(), counts, segment -> {
            long begin = rows.begin(segment.first());
            long end = segment.last() == 0 ? 0 : rows.end(segment.last() - 1);
            int k = experts.chosen();
            return Tensors.toFloats(counts(chosen.narrow(0, begin * k, Math.max(0, end - begin) * k)));
        });
    }

    private Tensor forward(int number, Tensor x, ExpertUpdates toGateUp, ExpertUpdates toDown) {
        Expert expert = all.get(number);
        return Scopes.scoped(() -> {
            Tensor[] gateUp =
                    Ops.loraLinear(x, expert.gateUp(), null, toGateUp.of(number, config.size(), config.size()), 0);
            Tensor inner = Ops.gatedMlp(gateUp[0], gateUp[1], config.activation());
            return Ops.loraLinear(inner, expert.down(), null, toDown.of(number, downPoint.out()), 0)[0];
        });
    }

    @Override
    public List<ExpertsPoint> expertsPoints() {
        return List.of(gateUpPoint, downPoint);
    }

    /** None: experts are adapted by {@link #expertsPoints}. */
    @Override
    public List<LinearPoint> linearPoints() {
        return List.of();
    }

    @Override
    public String outputPath() {
        return path;
    }

    @Override
    public void close() {
        router.close();
        if (shares) {
            return;
        }
        all.forEach(expert -> {
            expert.gateUp().close();
            expert.down().close();
        });
        views.forEach(Tensor::close);
    }
}
