package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.method.LayerReplication;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.nn.Tensors;
import org.peft4j.optim.AdamW;
import org.peft4j.run.RunConfigFile;
import org.peft4j.task.Example;

/** What runs do for LoRA that acts from certain tokens on, and for LoRA of layers that stand more than once. */
class LoraRunsTest {
    private static OpenedModel llama;

    @TempDir
    Path dir;

    @BeforeAll
    static void open() throws IOException {
        llama = OpenedModel.open(ModelConfig.of(Fixtures.TINY_LLAMA), 0);
    }

    @AfterAll
    static void close() {
        llama.close();
    }

    private static RunConfig.Builder config(@Nullable MethodConfig method) {
        return RunConfig.builder()
                .model(llama.config())
                .task(CausalLmConfig.defaults().withMaxLength(20))
                .method(method)
                .training(TrainingConfig.builder().learningRate(1e-2).build())
                .output(Path.of("not-written"));
    }

    private static LoadedRun<?> load(RunConfig config, @Nullable OpenedModel base) throws IOException {
        return LoadedRun.load(
                config,
                base,
                new RunRows(
                        columns -> RowReader.of(IntStream.range(0, 6)
                                .mapToObj(
                                        i -> Map.of("text", i < 4 ? "you have a mail" : "free offer", "label", i % 2))),
                        null));
    }

    private static <E extends Example> void step(LoadedRun<E> run, AdamW optimizer, int... rows) {
        new TrainingStep<>(run, optimizer).run(List.of(rows), 1, 1);
    }

    private static Map<String, float[]> values(LoadedRun<?> run) {
        Map<String, float[]> values = new LinkedHashMap<>();
        run.adapter.parameters().forEach((path, parameter) -> values.put(path, Tensors.toFloats(parameter.value())));
        return values;
    }

    private static List<Integer> tokens(String text) throws IOException {
        return Arrays.stream(llama.tokenizer(100).encodePlainWhole(text))
                .boxed()
                .toList();
    }

    private static LoraConfig.Builder lora() {
        return LoraConfig.builder().r(2).targets("q_proj", "v_proj");
    }

    @Test
    void theInvocationIsReadByTheModelsTokenizerWithoutSpecialTokens() throws Exception {
        List<Integer> tokens = tokens("you have a mail");
        try (LoadedRun<?> run = load(
                        config(lora().aloraInvocation("you have a mail").build())
                                .build(),
                        llama);
                AdamW optimizer = new AdamW(run.groups)) {
            assertThat(((LoraConfig) run.method).aloraInvocationTokens()).isEqualTo(tokens);
            assertThat(run.adapter.invocations()).containsExactly(tokens);
            assertThat(run.notes)
                    .anyMatch(note -> note.startsWith("2 of 6 rows do not have the alora_invocation_tokens"));
            Map<String, float[]> before = values(run);
            step(run, optimizer, 4, 5); // rows without: gradients of 0
            Map<String, float[]> still = values(run);
            before.forEach((path, value) -> {
                if (path.endsWith("lora_B.weight")) {
                    assertThat(still.get(path)).as(path).isEqualTo(value);
                }
            });
            step(run, optimizer, 0, 1, 2, 3);
            assertThat(values(run).values()).noneMatch(value -> Arrays.equals(value, new float[value.length]));
            AdapterStore.write(dir, run.adapter, run.method, run.model.points(), "tiny-llama", "CAUSAL_LM");
        }
        RunConfig again = config(lora().aloraInvocation("you have a mail").build())
                .adapter(dir)
                .build();
        try (LoadedRun<?> run = load(again, llama)) {
            assertThat(run.adapter.invocations()).containsExactly(tokens);
        }
        assertThatThrownBy(() -> load(
                                config(lora().aloraInvocation("free").build())
                                        .adapter(dir)
                                        .build(),
                                llama)
                        .close())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("method.alora_invocation_tokens is");
    }

    @Test
    void anInvocationThatNoRowHasIsRefused() {
        assertThatThrownBy(() -> load(
                                config(lora().aloraInvocationTokens(List.of(150, 151))
                                                .build())
                                        .build(),
                                llama)
                        .close())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("none of 6 rows has [150, 151]");
        LoraConfig both = lora().aloraInvocation("you")
                .aloraInvocationTokens(List.of(150))
                .build();
        assertThatThrownBy(() -> load(config(both).build(), llama).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("method.alora_invocation_tokens must be those of alora_invocation");
    }

    @Test
    void anInvocationIsForLanguageModels() {
        RunConfig config = config(lora().aloraInvocationTokens(List.of(9)).build())
                .task(SequenceClassificationConfig.defaults())
                .build();
        assertThatThrownBy(() -> load(config, llama).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("task.type must be causal-lm");
        assertThatThrownBy(() -> LoadedTask.load(
                                llama, Fixtures.ROOT.resolve("alora"), "embedding", Map.of("pooling", "mean"))
                        .close())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("causal-lm");
    }

    @Test
    void aRunOpensItsModelWithTheLayersThatItsMethodIsFor() throws Exception {
        LayerReplication layers = LayerReplication.of(0, 2, 1, 2);
        RunConfig config = config(lora().layerReplication(layers).build()).build();
        try (LoadedRun<?> run = load(config, null);
                AdamW optimizer = new AdamW(run.groups)) {
            assertThat(run.model.model().info().output().layers()).isEqualTo(3);
            assertThat(run.adapter.parameters().keySet()).anyMatch(path -> path.startsWith("model.layers.2."));
            assertThat(run.modelParameters() - run.adapter.elements())
                    .as("frozen numbers, each once")
                    .isEqualTo(frozen());
            step(run, optimizer, 0, 1);
            AdapterStore.write(dir, run.adapter, run.method, run.model.points(), "tiny-llama", "CAUSAL_LM");
        }
        try (LoadedRun<?> run = load(config(null).adapter(dir).build(), null)) {
            assertThat(run.model.model().info().output().layers()).isEqualTo(3);
            assertThat(run.method.layerReplication()).isEqualTo(layers);
        }
        assertThatThrownBy(() -> load(config, llama).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("as they are")
                .hasMessageContaining("withLayerReplication");
        assertThatThrownBy(() -> load(config(null).adapter(dir).build(), llama).close())
                .isInstanceOf(MalformedFileException.class);
    }

    private static long frozen() throws IOException {
        try (LoadedRun<?> run = load(config(lora().build()).build(), llama)) {
            return run.modelParameters() - run.adapter.elements();
        }
    }

    @Test
    void layersThatTheMethodIsNotForAreRefused() {
        ModelConfig other = llama.config().withLayerReplication(LayerReplication.of(0, 2, 0, 2));
        for (MethodConfig method : List.of(
                PromptConfig.of(2),
                lora().layerReplication(LayerReplication.of(0, 1)).build())) {
            assertThatThrownBy(() ->
                            load(config(method).model(other).build(), null).close())
                    .isInstanceOf(ConfigException.class)
                    .hasMessageStartingWith("model.layer_replication is [[0, 2], [0, 2]], but the method's is");
        }
    }

    @Test
    void runFilesHaveBoth() {
        Map<String, Object> method = Map.of(
                "type",
                "lora",
                "targets",
                List.of("q_proj"),
                "alora_invocation",
                "Answer:",
                "layer_replication",
                List.of(List.of(0, 4), List.of(2, 5)));
        Map<String, Object> run =
                Map.of("model", "m", "data", Map.of("train", "t.jsonl"), "output", "o", "method", method);
        RunConfig read = RunConfigFile.of(run, "here", List.of());
        LoraConfig lora = (LoraConfig) read.chosenMethod();
        assertThat(lora.aloraInvocation()).isEqualTo("Answer:");
        assertThat(lora.layerReplication().layers()).containsExactly(0, 1, 2, 3, 2, 3, 4);
        assertThat(RunConfigFile.of(RunConfigFile.toMap(read), "again", List.of()))
                .isEqualTo(read);
        LoraConfig set = (LoraConfig) RunConfigFile.of(
                        run,
                        "here",
                        List.of(
                                "method.alora_invocation=null",
                                "method.alora_invocation_tokens=[4, 5]",
                                "method.layer_replication=[[1, 2]]"))
                .chosenMethod();
        assertThat(set.aloraInvocationTokens()).containsExactly(4, 5);
        assertThat(set.layerReplication()).isEqualTo(LayerReplication.of(1, 2));
        for (String wrong : List.of("[[2, 1]]", "[1, 2]", "all", "[[a, b]]", "[[1]]")) {
            assertThatThrownBy(() -> RunConfigFile.of(run, "here", List.of("method.layer_replication=" + wrong)))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("layer_replication must");
        }
    }
}
