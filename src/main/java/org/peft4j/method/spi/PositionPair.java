package org.peft4j.method.spi;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.PositionUpdate;

/**
 * Row t of {@code scale · A B} is added to the embedded word at place t of each text (Shi and Lipani 2023). A begins random, B with
 * zeros: a new pair changes nothing.
 *
 * @param a [longest text, r]
 * @param b [r, C]
 */
public record PositionPair(Parameter a, Parameter b, double scale) implements PositionUpdate {
    /** Group of the pair, which wants a smaller learning rate than the prompt. */
    public static final String GROUP = "pair";

    private static final String A = "prompt_encoder.lora_embedding_A";
    private static final String B = "prompt_encoder.lora_embedding_B";

    /** A fresh pair; its parameters are the builder's. */
    public static PositionPair of(Adapter.Builder builder, int longest, int r, long width, double scale, long seed) {
        Parameter a = Parameter.of(A, GROUP, () -> Init.kaiming(seed, A, longest, r));
        Parameter b = Parameter.of(B, GROUP, () -> Tensors.zeros(r, width));
        builder.parameter(a).parameter(b);
        return new PositionPair(a, b, scale);
    }

    @Override
    public int longest() {
        return Math.toIntExact(a.shape()[0]);
    }

    @Override
    public Tensor rows(int count) {
        Tensor rows = a.value().narrow(0, 0, count).mm(b.value());
        return scale == 1 ? rows : rows.mul(new Scalar(scale));
    }
}
