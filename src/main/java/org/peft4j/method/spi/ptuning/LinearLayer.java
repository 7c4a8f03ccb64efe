package org.peft4j.method.spi.ptuning;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

/** A linear layer of the network, which begins as torch's do. */
record LinearLayer(Parameter weight, Parameter bias) {
    static LinearLayer of(String path, long out, long in, long seed) {
        String weight = path + ".weight";
        String bias = path + ".bias";
        return new LinearLayer(
                Parameter.of(weight, SoftPrompt.GROUP, () -> Init.kaiming(seed, weight, out, in)),
                Parameter.of(bias, SoftPrompt.GROUP, () -> Init.uniform(seed, bias, 1 / Math.sqrt(in), out)));
    }

    static long elements(long out, long in) {
        return out * in + out;
    }

    void parameters(Adapter.Builder builder) {
        builder.parameter(weight).parameter(bias);
    }

    Tensor of(Tensor x) {
        return Ops.linear(x, weight.value(), bias.value());
    }
}
