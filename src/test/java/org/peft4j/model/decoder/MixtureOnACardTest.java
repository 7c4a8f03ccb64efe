package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.HostDevices;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.ops.Device;

/** A mixture of experts on a card: the host waits once in each layer, for how many rows each expert has. */
@Tag(HostDevices.TAG)
class MixtureOnACardTest {
    /** Experts of adapters, too: how many rows each one has is known by then. */
    @Test
    void adaptersOfExpertsAreTheCpus() throws Exception {
        Device card = Device.cuda(0);
        String name = "mixtral";
        Fixtures.Sentences texts = Fixtures.sentences(DecoderFixtures.expected(name));
        try (HeadedModel cpu = DecoderFixtures.open(name, HeadKind.LANGUAGE, 0);
                HeadedModel model = DecoderFixtures.open(
                        DecoderFixtures.ROOT.resolve(name),
                        HeadKind.LANGUAGE,
                        0,
                        new ModelOptions(card, ScalarType.Float, false, 0));
                Adapter expected = DecoderFixtures.adapter("../target-parameters/mixtral", cpu);
                Adapter own = DecoderFixtures.adapter("../target-parameters/mixtral", model)) {
            assertThat(Fixtures.maxDifference(
                            DecoderFixtures.outputs(model, texts, own), DecoderFixtures.outputs(cpu, texts, expected)))
                    .isLessThan(1e-4);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"mixtral", "mixtral-fused", "qwen3_moe"})
    void waitsOnceALayer(String name) throws Exception {
        Device card = Device.cuda(1);
        Fixtures.Sentences texts = Fixtures.sentences(DecoderFixtures.expected(name));
        try (HeadedModel cpu = DecoderFixtures.open(name, HeadKind.LANGUAGE, 0);
                HeadedModel model = DecoderFixtures.open(
                        DecoderFixtures.ROOT.resolve(name),
                        HeadKind.LANGUAGE,
                        0,
                        new ModelOptions(card, ScalarType.Float, false, 0))) {
            DecoderFixtures.outputs(model, texts, null);
            HostDevices.recordCallsFor(card.card());
            float[] ours = DecoderFixtures.outputs(model, texts, null);
            long waits = HostDevices.waits().values().stream()
                    .mapToLong(Long::longValue)
                    .sum();
            assertThat(waits - 1)
                    .as("%s, with the outputs themselves", HostDevices.waits())
                    .isBetween(1L, (long) model.points().layers());
            assertThat(Fixtures.maxDifference(ours, DecoderFixtures.outputs(cpu, texts, null)))
                    .isLessThan(1e-4);
        }
    }
}
