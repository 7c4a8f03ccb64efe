package org.peft4j.method.spi;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.BiasDelta;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.InputUpdate;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Magnitude;
import org.peft4j.nn.seam.OutputUpdate;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.RowTasks;
import org.peft4j.nn.seam.TaskLowRank;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.nn.seam.WeightDelta;

/** What merges of all methods share. Results are float32, finite, and on the CPU, where there is room for all of them. */
public final class Merging {
    private Merging() {}

    /** The tensors that an adapter replaces as a whole, by path; the map may be added to. */
    public static Map<String, Tensor> replacements(Adapter adapter) {
        Map<String, Tensor> changed = new LinkedHashMap<>();
        adapter.claims(TensorPoint.class).forEach((point, parameters) -> {
            Tensor value = Tensors.onCpu(parameters.get(0).value().detach(), ScalarType.Float)
                    .clone();
            checkFinite(point.path(), value);
            changed.put(point.path(), value);
        });
        return changed;
    }

    /** A frozen tensor's new values. */
    public static Tensor changed(String path, Points points, UnaryOperator<Tensor> change) {
        TensorPoint point = points.tensors().get(path);
        if (point == null) {
            throw new IllegalStateException("the model has no tensor " + path + " to merge into");
        }
        Tensor merged = Scopes.scoped(() ->
                Tensors.onCpu(change.apply(points.device().move(point.value(), ScalarType.Float)), ScalarType.Float));
        checkFinite(path, merged);
        return merged;
    }

    /**
     * A linear layer's weight and bias with all that is claimed there ({@link LinearClaim} has the formula).
     *
     * @param into gets the new values by path, in place of those that are there
     * @throws IllegalStateException if something is added to a bias that the layer does not have
     */
    public static void linear(LinearPoint point, List<LinearClaim> claims, Points points, Map<String, Tensor> into) {
        String weight = point.path() + ".weight";
        into.put(
                weight,
                changed(
                        weight,
                        points,
                        value -> outputs(claims, weight(claims, value).t()).t()));
        String bias = point.path() + ".bias";
        List<BiasDelta> deltas = only(BiasDelta.class, claims);
        boolean biased = into.containsKey(bias) || points.tensors().containsKey(bias);
        if (!biased && !deltas.isEmpty()) {
            throw new IllegalStateException("the adapter adds to the bias of " + point.path()
                    + ", which has none in this model: it cannot be merged");
        }
        if (biased && !(deltas.isEmpty() && only(OutputUpdate.class, claims).isEmpty())) {
            Tensor trained = into.get(bias); // the adapter's own in place of the model's
            into.put(bias, changed(bias, points, value -> {
                Tensor sum = trained == null ? value : points.device().move(trained);
                for (BiasDelta delta : deltas) {
                    sum = sum.add(delta.vector().detach());
                }
                return outputs(claims, sum.unsqueeze(0)).squeeze(0);
            }));
        }
    }

    private static Tensor weight(List<LinearClaim> claims, Tensor frozen) {
        Tensor w = frozen;
        for (LowRank update : only(LowRank.class, claims)) {
            if (!update.invocation().isEmpty()) {
                throw new IllegalStateException("an update that acts on some rows of a text alone cannot be merged");
            }
            Tensor delta = update.b().detach().matmul(update.a().detach());
            w = w.add(delta.mul(new Scalar(update.scale())));
        }
        for (TaskLowRank ofTask : only(TaskLowRank.class, claims)) {
            LowRank update = ofTheOnlyTask(ofTask);
            Tensor delta = update.b().detach().matmul(update.a().detach());
            w = w.add(delta.mul(new Scalar(update.scale())));
        }
        for (WeightDelta delta : only(WeightDelta.class, claims)) {
            w = w.add(delta.matrix().detach());
        }
        for (Magnitude magnitude : only(Magnitude.class, claims)) {
            w = w.mul(magnitude.factors().detach().unsqueeze(1));
        }
        List<InputUpdate> inputs = new ArrayList<>(only(InputUpdate.class, claims));
        Collections.reverse(inputs); // x F G reads w Gᵀ Fᵀ
        for (InputUpdate input : inputs) {
            w = input.merged(w).detach();
        }
        return w;
    }

    private static LowRank ofTheOnlyTask(TaskLowRank claim) {
        try (ForwardContext none = ForwardContext.inference(Packing.of())) {
            return claim.updates(new int[] {0}, new int[] {RowTasks.NONE}, none).get(0);
        }
    }

    /** Rows as they are behind the output updates. */
    private static Tensor outputs(List<LinearClaim> claims, Tensor rows) {
        Tensor y = rows;
        for (OutputUpdate update : only(OutputUpdate.class, claims)) {
            y = update.of(y).detach();
        }
        return y;
    }

    private static <C extends LinearClaim> List<C> only(Class<C> kind, List<LinearClaim> claims) {
        return claims.stream().filter(kind::isInstance).map(kind::cast).toList();
    }

    private static void checkFinite(String path, Tensor merged) {
        if (!merged.isfinite().all().item_bool()) {
            throw new IllegalStateException("merging would put values that are not finite into " + path);
        }
    }
}
