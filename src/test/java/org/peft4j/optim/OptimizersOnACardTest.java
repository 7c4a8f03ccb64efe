package org.peft4j.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.HostDevices;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/** Every optimiser on a card: it goes where it goes on the CPU, makes nothing for another device, and does not wait. */
@Tag(HostDevices.TAG)
class OptimizersOnACardTest {
    private static final Device CARD = Device.cuda(1); // a thread begins on cuda:0: a forgotten device is seen
    private static final int STEPS = 6;

    static Stream<OptimizersTest.Case> cases() {
        return OptimizersTest.cases();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void itGoesWhereItGoesOnTheCpu(OptimizersTest.Case of) {
        HostDevices.recordCallsFor(CARD.card());
        try (OptimizersTest.Run cpu = new OptimizersTest.Run(of);
                OptimizersTest.Run card = new OptimizersTest.Run(of, CARD);
                OptimizersTest.Run behind = new OptimizersTest.Run(of, CARD)) {
            for (int step = 1; step <= STEPS; step++) {
                cpu.step(step);
                HostDevices.recordCallsFor(CARD.card());
                Tensor norm = card.stepAhead(step);
                assertThat(HostDevices.waits()).as("step %d", step).isEmpty();
                norm.close();
            }
            Map<String, float[]> expected = cpu.values();
            card.values()
                    .forEach((name, values) -> assertThat(maxDifference(values, expected.get(name)))
                            .as(name)
                            .isLessThan(2 * of.tolerance()));
            behind.optimizer.restore(cpu.optimizer.state()); // from another device
            assertThat(behind.optimizer.steps("wide")).isEqualTo(STEPS);
            Map<String, OptimizerState.OfParameter> theirs =
                    cpu.optimizer.state().parameters();
            behind.optimizer
                    .state()
                    .parameters()
                    .forEach((path, parameter) -> parameter.tensors().forEach((name, tensor) -> {
                        assertThat(Device.of(tensor)).isEqualTo(CARD);
                        assertThat(Tensors.toFloats(tensor))
                                .containsExactly(Tensors.toFloats(
                                        theirs.get(path).tensors().get(name)));
                    }));
        }
        assertThat(HostDevices.wrongCalls()).isEmpty();
    }

    /** It waits at its first step, for A's, and never again. */
    @Test
    void loraFaWaitsOnce() throws Exception {
        Map<String, float[]> expected = loraFa(Device.CPU);
        assertThat(expected).hasSize(16);
        loraFa(CARD)
                .forEach((name, values) -> assertThat(maxDifference(values, expected.get(name)))
                        .as(name)
                        .isLessThan(1e-3));
        assertThat(HostDevices.wrongCalls()).isEmpty();
    }

    private static Map<String, float[]> loraFa(Device device) throws Exception {
        Fixtures.Sentences texts =
                Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
        Map<String, float[]> values = new LinkedHashMap<>();
        try (HeadedModel model = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(device, ScalarType.Float, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0))) {
            HostDevices.recordCallsFor(CARD.card());
            AdapterStore.Loaded loaded = AdapterStore.read(Fixtures.TINY_LLAMA.resolve("lora"), "it", model.points());
            try (Adapter adapter = loaded.adapter()) {
                List<LowRankPair> pairs = Methods.of(loaded.config()).lowRankPairs(loaded.config(), adapter);
                pairs.forEach(pair -> pair.a().freeze());
                List<Parameter> bs = pairs.stream().map(LowRankPair::b).toList();
                try (Optimizer optimizer =
                        new RuleOptimizer(new LoraFa(pairs), List.of(new ParameterGroup("lora_B", 1e-2, 0.01, bs)))) {
                    for (int step = 1; step <= 3; step++) {
                        LanguageTraining.backward(model, adapter, texts, BlockRunner.plain(), step);
                        HostDevices.recordCallsFor(CARD.card());
                        optimizer.stepAhead(1, 1).close();
                        if (step > 1) {
                            assertThat(HostDevices.waits()).as("step %d", step).isEmpty();
                        }
                    }
                }
                adapter.parameters()
                        .forEach((path, parameter) -> values.put(path, Tensors.toFloats(parameter.value())));
            }
        }
        return values;
    }
}
