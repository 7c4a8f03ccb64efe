package org.peft4j.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.HostDevices;
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
            Map<String, OptimizerState.OfParameter> theirs = cpu.optimizer.state().parameters();
            behind.optimizer.state().parameters().forEach((path, parameter) -> parameter
                    .tensors()
                    .forEach((name, tensor) -> {
                        assertThat(Device.of(tensor)).isEqualTo(CARD);
                        assertThat(org.peft4j.nn.Tensors.toFloats(tensor))
                                .containsExactly(org.peft4j.nn.Tensors.toFloats(
                                        theirs.get(path).tensors().get(name)));
                    }));
        }
        assertThat(HostDevices.wrongCalls()).isEmpty();
    }
}
