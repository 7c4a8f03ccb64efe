package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;
import static org.peft4j.Fixtures.maxDifference;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.HostDevices;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.ops.Device;

/** Every method on a tiny Llama on a card: loss and gradients are the CPU's, and nothing is made for another device. */
@Tag(HostDevices.TAG)
class MethodsOnACardTest {
    private static final Device CARD = Device.cuda(1); // a thread begins on cuda:0: a forgotten device is seen
    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));

    private static HeadedModel cpu;
    private static HeadedModel card;
    private static HeadedModel half;

    @BeforeAll
    static void open() throws Exception {
        cpu = open(Device.CPU, ScalarType.Float);
        card = open(CARD, ScalarType.Float);
        half = open(CARD, ScalarType.BFloat16);
    }

    private static HeadedModel open(Device device, ScalarType storage) throws Exception {
        return HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(device, storage, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
    }

    @AfterAll
    static void close() {
        cpu.close();
        card.close();
        half.close();
    }

    static Stream<Arguments> methods() {
        return MethodsOnDecodersTest.pairs()
                .filter(pair -> pair.get()[0].equals("llama") && !MethodsOnDecodersTest.refused(pair))
                .map(pair -> arguments(pair.get()[1], pair.get()[2]));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("methods")
    void lossAndGradientsAreTheCpus(String name, MethodConfig config) {
        HostDevices.recordCallsFor(CARD.card());
        Map<String, float[]> expected = trained(cpu, config);
        Map<String, float[]> own = trained(card, config);
        assertThat(own).containsOnlyKeys(expected.keySet());
        expected.forEach((path, values) ->
                assertThat(maxDifference(own.get(path), values)).as(path).isLessThan(2e-3 * (1e-3 + largest(values))));
        Map<String, float[]> rounded = trained(half, config);
        assertThat((double) rounded.get("loss")[0])
                .as("in bfloat16")
                .isCloseTo(expected.get("loss")[0], org.assertj.core.data.Percentage.withPercentage(3));
        assertThat(HostDevices.wrongCalls()).isEmpty();
    }

    private static double largest(float[] values) {
        double most = 0;
        for (float value : values) {
            most = Math.max(most, Math.abs(value));
        }
        return most;
    }

    private static Map<String, float[]> trained(HeadedModel model, MethodConfig config) {
        Map<String, float[]> found = new LinkedHashMap<>();
        try (Adapter adapter = MethodsOnDecodersTest.attach(config, model);
                PointerScope scope = new PointerScope()) {
            found.put(
                    "loss",
                    new float[] {(float) LanguageTraining.backward(model, adapter, TEXTS, BlockRunner.plain(), 0)});
            adapter.parameters().forEach((path, parameter) -> {
                if (parameter.value().grad().defined()) {
                    found.put(path, Tensors.toFloats(parameter.value().grad()));
                }
            });
        }
        return found;
    }
}
