package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.ops.Ops;

/** Activations by themselves; those of a gated MLP are part of its operation. */
public final class Activations {
    private Activations() {}

    /** Of any shape. */
    public static Tensor apply(Ops.Activation activation, Tensor x) {
        return switch (activation) {
            case SILU -> torch.silu(x);
            case GELU -> Ops.gelu(x);
            case GELU_TANH -> torch.gelu(x, "tanh");
            case RELU -> torch.relu(x);
        };
    }
}
