package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.Merging;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.ExpertsUpdate;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;

/**
 * LoRA of each expert's matrix, in two tensors as Hugging Face PEFT has them: A [E r, in] has the experts one below the other, B
 * [out, r E] has column j of expert e at {@code j E + e}.
 *
 * @param first A
 * @param second B
 * @param experts E
 */
record LoraOfExperts(Parameter first, Parameter second, long experts, double scale) implements ExpertsUpdate {
    /** A fresh one, whose parameters the builder gets. */
    static LoraOfExperts of(
            Adapter.Builder builder, LoraConfig config, ExpertsPoint point, int rank, double scale, long seed) {
        String a = point.path() + LoraSite.LINEAR_A;
        String b = point.path() + LoraSite.LINEAR_B;
        long rows = point.experts() * rank;
        Parameter first = Parameter.of(
                a,
                "lora_A",
                () -> config.init() == InitLora.GAUSSIAN
                        ? Init.normal(seed, a, 1.0 / rank, rows, point.in())
                        : Init.kaiming(seed, a, rows, point.in()));
        builder.parameter(first);
        Parameter second = Parameter.of(b, "lora_B", () -> Tensors.zeros(point.out(), rows));
        builder.parameter(second);
        return new LoraOfExperts(first, second, point.experts(), scale);
    }

    @Override
    public Tensor a() {
        Tensor all = first.value();
        return all.view(experts, all.size(0) / experts, all.size(1));
    }

    @Override
    public Tensor b() {
        Tensor all = second.value();
        return all.view(all.size(0), all.size(1) / experts, experts)
                .permute(2, 0, 1)
                .contiguous();
    }

    /** What is added to all matrices, [E, out, in]. */
    private Tensor delta() {
        return b().detach().matmul(a().detach()).mul(new Scalar(scale));
    }

    /** Merges what is claimed at a point; tensors have new values by path, in place of those that are there. */
    static void merge(ExpertsPoint point, List<ExpertsUpdate> claims, Points points, Map<String, Tensor> into) {
        List<Tensor> deltas = new ArrayList<>();
        claims.forEach(claim -> deltas.add(((LoraOfExperts) claim).delta()));
        if (point.tensors().isEmpty()) {
            into.put(point.path(), Merging.changed(point.path(), points, value -> plus(value, deltas)));
            return;
        }
        for (int e = 0; e < point.tensors().size(); e++) {
            int expert = e;
            long row = 0;
            for (String path : point.tensors().get(e)) {
                long from = row;
                long rows = points.tensors().get(path).value().size(0);
                into.put(
                        path,
                        Merging.changed(
                                path,
                                points,
                                value -> plus(
                                        value,
                                        deltas.stream()
                                                .map(delta ->
                                                        delta.select(0, expert).narrow(0, from, rows))
                                                .toList())));
                row += rows;
            }
        }
    }

    /** The frozen tensors of a point. */
    static List<String> paths(ExpertsPoint point) {
        return point.tensors().isEmpty()
                ? List.of(point.path())
                : point.tensors().stream().flatMap(List::stream).toList();
    }

    /**
     * What new values change at a point, [E, out, in], float32 on the CPU; null: nothing.
     *
     * @param merged new values by path
     */
    static @Nullable Tensor change(ExpertsPoint point, Map<String, Tensor> merged, Points points) {
        if (paths(point).stream().noneMatch(merged::containsKey)) {
            return null;
        }
        if (point.tensors().isEmpty()) {
            return change(point.path(), merged, points);
        }
        TensorVector experts = new TensorVector();
        for (List<String> parts : point.tensors()) {
            TensorVector rows = new TensorVector();
            parts.forEach(path -> rows.push_back(change(path, merged, points)));
            experts.push_back(torch.cat(rows, 0));
        }
        return torch.stack(experts, 0);
    }

    private static Tensor change(String path, Map<String, Tensor> merged, Points points) {
        Tensor frozen = Tensors.onCpu(points.tensors().get(path).value(), ScalarType.Float);
        Tensor changed = merged.get(path);
        return changed == null ? torch.zeros_like(frozen) : changed.sub(frozen);
    }

    private static Tensor plus(Tensor value, List<Tensor> deltas) {
        Tensor sum = value;
        for (Tensor delta : deltas) {
            sum = sum.add(delta);
        }
        return sum;
    }
}
