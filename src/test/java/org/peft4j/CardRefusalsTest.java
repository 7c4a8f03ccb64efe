package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.Dtype;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.error.DeviceException;
import org.peft4j.info.Machine;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/** What a card cannot do is refused by name, before anything is computed, and nothing is left behind. */
@Tag(HostDevices.TAG)
class CardRefusalsTest {
    private static final long ENOUGH = 8L << 30;
    private static final int HOPPER = 90;
    private static final int DRIVER = 13_000;
    private static final Path ROWS = Fixtures.ROOT.resolve("loss-parity/tiny/rows.jsonl");

    @TempDir
    Path directory;

    @AfterEach
    void asTheCardsBegin() {
        HostDevices.setDriver(DRIVER);
        for (int card = 0; card < 2; card++) {
            HostDevices.setCapability(card, HOPPER);
            HostDevices.setMemory(card, ENOUGH);
        }
    }

    private static ModelConfig llama(String device) {
        return ModelConfig.of(Fixtures.TINY_LLAMA).withDevice(device);
    }

    private static void refused(String device, String... parts) {
        assertThatThrownBy(() -> BaseModel.open(llama(device)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll(parts);
    }

    @Test
    void aCardThatIsNotThere() {
        refused("cuda:7", "device cuda:7", "there are 2", "cuda:0 (", "cuda:1 (", "device cpu");
    }

    @Test
    void aCardThatIsTooOld() throws Exception {
        HostDevices.setCapability(0, 75);
        refused("cuda:0", "device cuda:0", "compute capability 7.5", "8.0", "sm_80");
        try (BaseModel second = BaseModel.open(llama("cuda:1"));
                BaseModel automatic = BaseModel.open(llama("auto"))) {
            assertThat(List.of(second.device(), automatic.device())).containsOnly("cuda:1");
        }
        HostDevices.setCapability(1, 61);
        refused("cuda:1", "7.5", "6.1", "sm_80");
    }

    @Test
    void aDriverThatIsTooOldOrMissing() throws Exception {
        for (int driver : new int[] {11_080, 0}) {
            HostDevices.setDriver(driver);
            refused("cuda:0", "device cuda:0", "driver");
            try (BaseModel automatic = BaseModel.open(llama("auto"))) {
                assertThat(automatic.device()).isEqualTo("cpu");
                assertThat(automatic.notes()).anyMatch(note -> note.contains("auto") && note.contains("driver"));
            }
        }
    }

    /** The switch is one for the process. */
    @Test
    void float32AndTf32AtOnce() throws Exception {
        ModelConfig tf32 = llama("cuda:1").withDtype(Dtype.TF32);
        try (BaseModel first = BaseModel.open(llama("cuda:0"))) {
            assertThatThrownBy(() -> BaseModel.open(tf32))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("tf32", "float32", "one switch");
            assertThat(first.device()).isEqualTo("cuda:0");
        }
        BaseModel.open(tf32).close();
        refused("cuda:9", "there are 2");
        BaseModel.open(llama("cuda:0")).close();
    }

    @Test
    void aModelThatDoesNotFit() {
        HostDevices.setMemory(0, live(0) + 1000);
        assertThatThrownBy(() -> BaseModel.open(llama("cuda:0")))
                .isInstanceOf(DeviceException.class)
                .hasMessageContainingAll("weights need", "cuda:0", "free", "bfloat16");
    }

    @Test
    void aSecondModelThatDoesNotFitBesideTheFirst() throws Exception {
        try (BaseModel first = BaseModel.open(llama("cuda:0"))) {
            LoadedAdapter plain = first.plain(LoadedAdapter.Options.defaults().withTask(CausalLmConfig.TYPE));
            TextGenerator.of(plain).generate("the cat");
            HostDevices.setMemory(0, live(0) + 90_000); // the weights are 110,000 bytes
            assertThatThrownBy(() -> BaseModel.open(llama("cuda:0"))).hasMessageContaining("weights need");
            assertThat(TextGenerator.of(plain).generate("the")).isNotNull(); // which goes on
        }
    }

    @Test
    void aRunThatDoesNotFit() {
        // Enough for the weights and a chunk of logits, and for a text of 24 tokens, but not for all 80 together.
        HostDevices.setMemory(0, live(0) + (513 << 20));
        RunConfig run = run("cuda:0", 80);
        assertThatThrownBy(() -> Trainer.train(run))
                .isInstanceOf(DeviceException.class)
                .hasMessageContainingAll("the run needs about", "cuda:0", "would fit");
        assertThat(run.output()).doesNotExist();
        assertThat(live(0)).isLessThan(1000); // lengths of the last call are kept
    }

    /** What the arithmetic let pass: others take memory, too. */
    @Test
    void memoryThatEndsDuringARun() throws Exception {
        RunConfig run = run("cuda:0", 2, TrainingConfig.builder().maxSteps(6).saveEvery(1));
        TrainListener takesMemory = new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                HostDevices.setMemory(0, live(0) + 12_000);
            }
        };
        assertThatThrownBy(() -> Trainer.train(run, false, takesMemory))
                .isInstanceOf(DeviceException.class)
                .hasMessageContainingAll("step ", "layer ", "forward", "out of memory: wanted ", "free of", "cuda:0");
        assertThat(live(0)).isLessThan(1000); // lengths of the last call are kept
        AdapterFiles.read(run.output()).tensors().forEach((name, tensor) -> {
            for (float value : tensor.toFloats()) {
                assertThat(value).as(name).isFinite();
            }
        });
    }

    @Test
    void aCacheThatIsLargerThanWhatIsLeft() throws Exception {
        try (BaseModel base = BaseModel.open(llama("cuda:0"))) {
            LoadedAdapter plain = base.plain(LoadedAdapter.Options.defaults().withTask(CausalLmConfig.TYPE));
            TextGenerator.Options options = TextGenerator.Options.defaults().withCacheBytes(2 * ENOUGH);
            assertThatThrownBy(() -> TextGenerator.of(plain).generate(List.of("the"), options))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("cache", "cuda:0", "free");
        }
    }

    @Test
    void tensorsOfTwoDevicesInOneCall() throws Exception {
        Path output = directory.resolve("run");
        Trainer.train(run("cuda:0", 3));
        try (BaseModel first = BaseModel.open(llama("cuda:0"));
                BaseModel second = BaseModel.open(llama("cuda:1"))) {
            LoadedAdapter own = first.load("own", output);
            LoadedAdapter other = second.load("other", output);
            assertThatThrownBy(() -> first.answer(List.of(
                            new BaseModel.Request(own, Map.of("text", "a")),
                            new BaseModel.Request(other, Map.of("text", "b")))))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("'other' is loaded on another model");
        }
    }

    @Test
    void infoShowsTheCards() {
        assertThat(Machine.facts()).containsEntry("CUDA", "2 cards").containsKey("cuda:1");
        assertThat(Machine.facts().get("cuda:0")).contains("compute capability 9.0", "8.6 GB");
        assertThat(Machine.devices()).containsExactly("cpu", "cuda:0", "cuda:1");
        assertThat(Machine.kernels("cuda:0")).hasSizeGreaterThan(10);
        HostDevices.setDriver(0);
        assertThat(Machine.facts().get("CUDA")).contains("none", "driver");
    }

    private RunConfig run(String device, int batch) {
        return run(device, batch, TrainingConfig.builder().maxSteps(2));
    }

    private RunConfig run(String device, int batch, TrainingConfig.Builder training) {
        return RunConfig.builder()
                .model(llama(device))
                .task(CausalLmConfig.defaults().withMaxLength(24))
                .data(new DataConfig(ROWS, null))
                .method(LoraConfig.builder().r(4).build())
                .training(training.batchSize(batch).build())
                .output(directory.resolve("run"))
                .build();
    }

    private static long live(int card) {
        return Ops.liveBytes(Device.cuda(card));
    }
}
