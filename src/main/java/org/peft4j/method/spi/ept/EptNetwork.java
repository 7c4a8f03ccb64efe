package org.peft4j.method.spi.ept;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.method.ept.EptConfig;
import org.peft4j.method.spi.PositionPair;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

/** What makes EPT's rows of its short prompt and B of the pair; {@link EptConfig} has the formula. */
record EptNetwork(
        Parameter query, Parameter key, Parameter value, Parameter output, List<Space> spaces, Parameter gate) {
    private static final String PATH = "prompt_encoder.";

    /** A projection into a space and back. */
    record Space(Parameter down, Parameter up) {
        Tensor of(Tensor x) {
            return Ops.linear(Ops.linear(x, down.value(), null).relu(), up.value(), null);
        }
    }

    /** A fresh network; its parameters are the builder's. */
    static EptNetwork of(Adapter.Builder builder, EptConfig config, long width, long seed) {
        long a = config.network().attention();
        long q = config.network().spaceWidth();
        List<Space> spaces = new ArrayList<>();
        for (int j = 0; j < config.network().spaces(); j++) {
            String path = "spaces." + j;
            spaces.add(new Space(random(path + ".down", seed, q, width), zero(path + ".up", width, q)));
        }
        EptNetwork network = new EptNetwork(
                random("fusion_query", seed, a, width),
                random("fusion_key", seed, a, width),
                random("fusion_value", seed, a, width),
                zero("fusion_output", width, a),
                List.copyOf(spaces),
                zero("gate", config.network().spaces(), width));
        List.of(network.query, network.key, network.value, network.output).forEach(builder::parameter);
        spaces.forEach(space -> builder.parameter(space.down()).parameter(space.up()));
        builder.parameter(network.gate);
        return network;
    }

    static long elements(EptConfig config, long width) {
        return 4 * width * config.network().attention()
                + config.network().spaces() * 2L * width * config.network().spaceWidth()
                + config.network().spaces() * width;
    }

    private static Parameter random(String name, long seed, long out, long in) {
        String path = PATH + name + ".weight";
        return Parameter.of(path, PositionPair.GROUP, () -> Init.kaiming(seed, path, out, in));
    }

    private static Parameter zero(String name, long out, long in) {
        return Parameter.of(PATH + name + ".weight", PositionPair.GROUP, () -> Tensors.zeros(out, in));
    }

    /**
     * The rows in front of the texts, [m, d].
     *
     * @param prompt [m, d]
     * @param b [r, d]
     */
    Tensor rows(Tensor prompt, Tensor b) {
        Tensor fused = fused(prompt, b);
        Tensor weights = gate(fused);
        Tensor sum = fused;
        for (int j = 0; j < spaces.size(); j++) {
            sum = sum.add(spaces.get(j).of(fused).mul(weights.select(0, j)));
        }
        return sum;
    }

    /** The prompt and what it attends to of itself and the pair, [m, d]. */
    Tensor fused(Tensor prompt, Tensor b) {
        Tensor known = torch.cat(new TensorVector(prompt, b), 0);
        Tensor queries = Ops.linear(prompt, query.value(), null);
        Tensor keys = Ops.linear(known, key.value(), null);
        Tensor scores = queries.mm(keys.t()).mul(new Scalar(1 / Math.sqrt(query.shape()[0])));
        Tensor attended = scores.softmax(1).mm(Ops.linear(known, value.value(), null));
        return prompt.add(Ops.linear(attended, output.value(), null));
    }

    /** How much each space counts, [J]; they sum to 1. */
    Tensor gate(Tensor fused) {
        Tensor mean = fused.mean(new long[] {0}, true, new org.bytedeco.pytorch.ScalarTypeOptional());
        return Ops.linear(mean, gate.value(), null).softmax(1).select(0, 0);
    }
}
