package org.peft4j.method.spi;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;

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

    private static void checkFinite(String path, Tensor merged) {
        if (!merged.isfinite().all().item_bool()) {
            throw new IllegalStateException("merging would put values that are not finite into " + path);
        }
    }
}
