package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.config.DataConfig;
import org.peft4j.config.Dtype;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.osf.OsfConfig;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.ops.Ops;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/** Tensors live as long as they are needed, without help of the garbage collector. */
class LeakTest {
    @TempDir
    Path directory;

    private List<Long> liveBytesOfSteps(MethodConfig method, Dtype dtype) throws Exception {
        RunConfig config = RunConfig.builder()
                .model(ModelConfig.of(Fixtures.TINY_BERT).withDtype(dtype))
                .task(SequenceClassificationConfig.builder().maxLength(40).build())
                .data(new DataConfig(Fixtures.ROOT.resolve("loss-parity/tiny/rows.jsonl"), null))
                .method(method)
                .training(TrainingConfig.builder()
                        .epochs(100)
                        .maxSteps(60)
                        .batchSize(8)
                        .build())
                .output(directory.resolve("run"))
                .build();
        List<Long> live = new ArrayList<>();
        Trainer.train(config, false, new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                live.add(Ops.liveBytes());
            }
        });
        return live;
    }

    @ParameterizedTest
    @ValueSource(strings = {"FLOAT32", "BFLOAT16"})
    void loraHoldsTheSameBytesAfterStep60AsAfterStep10(Dtype dtype) throws Exception {
        List<Long> live = liveBytesOfSteps(
                LoraConfig.builder().dropout(0.1).targets("query", "value").build(), dtype);
        assertThat(live).hasSize(60);
        assertThat(live.get(59)).isEqualTo(live.get(9));
    }

    @Test
    void aProjectedPrefixHoldsTheSameBytesToo() throws Exception {
        List<Long> live = liveBytesOfSteps(
                new PrefixConfig(3, true, 8, org.peft4j.method.prefix.InitPrefix.RANDOM, List.of()), Dtype.FLOAT32);
        assertThat(live.get(59)).isEqualTo(live.get(9));
    }

    /** The optimiser gives back what it has of a half, and makes it anew for the next one; projections leave nothing. */
    @Test
    void roundsAndProjectionsLeaveNothing() throws Exception {
        List<MethodConfig> methods = List.of(
                HftConfig.defaults().withRoundSteps(4), OsfConfig.defaults().withLayers(TargetLayers.of("query")));
        liveBytesOfSteps(methods.get(0), Dtype.FLOAT32); // what libtorch itself makes once
        long before = Ops.liveBytes();
        for (MethodConfig method : methods) {
            directory = directory.resolve("next");
            List<Long> live = liveBytesOfSteps(method, Dtype.FLOAT32);
            assertThat(Ops.liveBytes()).isEqualTo(before);
            if (method instanceof OsfConfig) {
                assertThat(live.get(59)).isEqualTo(live.get(9));
            } else {
                assertThat(live.get(41))
                        .as("the optimiser has moments of a half")
                        .isLessThan(live.get(9) * 5 / 4);
            }
        }
    }

    @Test
    void nothingIsLeftWhenARunIsOver() throws Exception {
        LoraConfig method = LoraConfig.builder().targets("query").build();
        liveBytesOfSteps(method, Dtype.FLOAT32); // what libtorch itself makes once
        long before = Ops.liveBytes();
        directory = directory.resolve("second");
        liveBytesOfSteps(method, Dtype.FLOAT32);
        assertThat(Ops.liveBytes()).isEqualTo(before);
    }
}
