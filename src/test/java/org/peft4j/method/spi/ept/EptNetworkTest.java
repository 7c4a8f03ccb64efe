package org.peft4j.method.spi.ept;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;
import static org.peft4j.Fixtures.maxDifference;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.method.PromptStart;
import org.peft4j.method.ept.EptConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** What EPT's network is where a part of it does nothing. */
class EptNetworkTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final int WIDTH = 6;
    private static final EptConfig CONFIG =
            new EptConfig(4, PromptStart.RANDOM, 2, 10, new EptConfig.Network(3, 5, 2), List.of());

    private static void set(Parameter parameter, double std) {
        try (PointerScope scope = new PointerScope()) {
            parameter.set(Tensors.toFloats(Init.normal(9, parameter.path(), std, parameter.shape())));
        }
    }

    @Test
    void theGateSumsToOne() {
        try (PointerScope scope = new PointerScope()) {
            Adapter.Builder builder = Adapter.builder("ept", Device.CPU);
            EptNetwork network = EptNetwork.of(builder, CONFIG, WIDTH, 1);
            try (Adapter adapter = builder.build()) {
                Tensor prompt = Init.normal(2, "prompt", 1, 4, WIDTH);
                assertThat(Tensors.toFloats(network.gate(prompt)))
                        .as("alike at first")
                        .containsOnly(0.2f);
                adapter.parameters().values().forEach(parameter -> set(parameter, 2));
                Tensor fused = network.fused(prompt, Init.normal(3, "b", 1, 2, WIDTH));
                float[] gate = Tensors.toFloats(network.gate(fused));
                double sum = 0;
                for (float weight : gate) {
                    sum += weight;
                }
                assertThat(gate).hasSize(5);
                assertThat(maxDifference(gate, new float[] {0.2f, 0.2f, 0.2f, 0.2f, 0.2f}))
                        .isGreaterThan(0.1);
                assertThat(sum).isCloseTo(1, offset(1e-6));
            }
        }
    }

    @Test
    void withoutFusionsOutputAndSpacesItIsThePrompt() {
        try (PointerScope scope = new PointerScope()) {
            Adapter.Builder builder = Adapter.builder("ept", Device.CPU);
            EptNetwork network = EptNetwork.of(builder, CONFIG, WIDTH, 1);
            try (Adapter adapter = builder.build()) {
                Tensor prompt = Init.normal(2, "prompt", 1, 4, WIDTH);
                Tensor b = Init.normal(3, "b", 1, 2, WIDTH);
                float[] rows = Tensors.toFloats(prompt);
                set(network.gate(), 2);
                assertThat(maxDifference(Tensors.toFloats(network.rows(prompt, b)), rows))
                        .isZero();
                set(network.output(), 1);
                float[] fused = Tensors.toFloats(network.fused(prompt, b));
                assertThat(maxDifference(fused, rows)).isGreaterThan(1e-2);
                assertThat(maxDifference(Tensors.toFloats(network.rows(prompt, b)), fused))
                        .isZero();
                set(network.spaces().get(3).up(), 1);
                assertThat(maxDifference(Tensors.toFloats(network.rows(prompt, b)), fused))
                        .isGreaterThan(1e-2);
                assertThat(adapter.elements()).isEqualTo(EptNetwork.elements(CONFIG, WIDTH));
            }
        }
    }
}
