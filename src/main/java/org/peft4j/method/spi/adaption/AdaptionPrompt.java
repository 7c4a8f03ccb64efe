package org.peft4j.method.spi.adaption;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.GatedPrompt;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Parameter;

/** Rows and gate of one layer: {@code adaption_prompt} [1, K, C] and {@code adaption_gate} [1]. */
record AdaptionPrompt(Parameter prompt, Parameter gateParameter, boolean behindOutput) implements GatedPrompt {
    /** Normal rows as an embedding's; a gate of 0. */
    static AdaptionPrompt fresh(KeyValuePoint point, int rows, long width, boolean behindOutput, long seed) {
        String prompt = point.path() + ".adaption_prompt";
        return new AdaptionPrompt(
                Parameter.of(prompt, "adaption_prompt", () -> Init.normal(seed, prompt, 1, 1, rows, width)),
                Parameter.of(point.path() + ".adaption_gate", "adaption_gate", () -> Tensors.zeros(1)),
                behindOutput);
    }

    @Override
    public Tensor rows() {
        return prompt.value().flatten(0, 1);
    }

    @Override
    public Tensor gate() {
        return gateParameter.value();
    }
}
