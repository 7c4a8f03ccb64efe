package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The frozen tensors of a linear layer; {@link LinearGroup} computes with them.
 *
 * @param path such as {@code bert.encoder.layer.0.attention.self.query}
 * @param weight [out, in]
 * @param bias [out] of the activations' type, or null
 */
public record Linear(String path, Tensor weight, @Nullable Tensor bias) {
    public String weightPath() {
        return path + ".weight";
    }

    public String biasPath() {
        return path + ".bias";
    }
}
