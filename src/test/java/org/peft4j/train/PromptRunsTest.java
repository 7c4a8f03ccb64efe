package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.GroupOverride;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.PromptStart;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.dept.DeptConfig;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.PromptSource;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.nn.Tensors;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.ParameterGroup;
import org.peft4j.task.Example;

/** What runs do for methods that put rows before texts: the words that they begin with, rates of groups, tasks, lengths. */
class PromptRunsTest {
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

    private static RunConfig.Builder config(MethodConfig method) {
        return RunConfig.builder()
                .model(llama.config())
                .task(CausalLmConfig.defaults().withMaxLength(20))
                .method(method)
                .training(TrainingConfig.builder().learningRate(1e-2).build())
                .output(Path.of("not-written"));
    }

    private static LoadedRun<?> load(RunConfig config) throws IOException {
        return LoadedRun.load(
                config,
                llama,
                new RunRows(
                        columns -> RowReader.of(IntStream.range(0, 6)
                                .mapToObj(i -> Map.of("text", "you have a mail " + i, "label", i % 2))),
                        null));
    }

    private static <E extends Example> void step(LoadedRun<E> run, AdamW optimizer, int number) {
        new TrainingStep<>(run, optimizer).run(List.of(new int[] {0, 1, 2, 3, 4, 5}), number, 1);
    }

    private static float[] values(LoadedRun<?> run, String path) {
        return Tensors.toFloats(run.adapter.parameters().get(path).value());
    }

    @Test
    void theTextIsReadByTheModelsTokenizer() throws Exception {
        PromptConfig config = new PromptConfig(4, PromptStart.text("Is this mail wanted?"), List.of());
        try (LoadedRun<?> run = load(config(config).build())) {
            assertThat(values(run, "prompt_embeddings"))
                    .isEqualTo(Fixtures.read(Fixtures.ROOT.resolve("prompts/text/expected.safetensors"))
                            .get("start")
                            .toFloats());
            AdapterStore.write(dir, run.adapter, run.method, run.model.points(), "tiny-llama", "CAUSAL_LM");
            assertThat(AdapterFiles.read(dir).config())
                    .containsEntry("prompt_tuning_init", "TEXT")
                    .containsEntry("prompt_tuning_init_text", "Is this mail wanted?")
                    .containsEntry("tokenizer_name_or_path", "tiny-llama");
        }
    }

    @Test
    void promptAndPairHaveRatesOfTheirOwnAtEachStep() throws Exception {
        RunConfig config = config(new DeptConfig(2, PromptStart.RANDOM, 2, 8, 20, List.of()))
                .training(TrainingConfig.builder()
                        .learningRate(1e-2)
                        .groups(Map.of("prompt", new GroupOverride(0.3, null), "pair", new GroupOverride(5e-4, null)))
                        .build())
                .build();
        try (LoadedRun<?> run = load(config);
                AdamW optimizer = new AdamW(run.groups)) {
            Map<String, Double> rates = new HashMap<>();
            run.groups.forEach(group -> rates.put(group.name(), group.learningRate()));
            assertThat(rates).isEqualTo(Map.of("prompt", 0.3, "pair", 5e-4));
            for (int number = 1; number <= 3; number++) {
                Map<String, float[]> before = new LinkedHashMap<>();
                run.adapter.parameters().keySet().forEach(path -> before.put(path, values(run, path)));
                step(run, optimizer, number);
                for (ParameterGroup group : run.groups) {
                    double most = group.parameters().stream()
                            .mapToDouble(parameter -> Fixtures.maxDifference(
                                    Tensors.toFloats(parameter.value()), before.get(parameter.path())))
                            .max()
                            .orElseThrow();
                    // a step of AdamW is about as long as its rate
                    assertThat(most)
                            .as("%s at step %s", group.name(), number)
                            .isBetween(0.2 * group.learningRate(), 2 * group.learningRate());
                }
            }
        }
    }

    @Test
    void textsLongerThanThePairAreRefusedByName() {
        RunConfig config = config(new DeptConfig(2, PromptStart.RANDOM, 2, 8, 19, List.of()))
                .build();
        assertThatThrownBy(() -> load(config).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("task.max_length must be at most method.max_length, 19")
                .hasMessageEndingWith("got 20");
    }

    @Test
    void aRunGoesOnWithAnotherTaskOfTheSamePrompts() throws Exception {
        MultitaskPromptConfig first = new MultitaskPromptConfig(
                2, PromptStart.RANDOM, new MultitaskPromptConfig.Factors(3, 1, 0), PromptSource.NONE, List.of());
        float[] columns;
        try (LoadedRun<?> run = load(config(first).build());
                AdamW optimizer = new AdamW(run.groups)) {
            step(run, optimizer, 1);
            columns = values(run, "prefix_task_cols");
            AdapterStore.write(dir, run.adapter, run.method, run.model.points(), "tiny-llama", "CAUSAL_LM");
        }
        try (LoadedRun<?> run = load(config(first.withTask(2)).adapter(dir).build());
                AdamW optimizer = new AdamW(run.groups)) {
            assertThat(run.notes).contains("the run is of task 2 of the adapter, which was saved for task 0");
            assertThat(values(run, "prefix_task_cols")).isEqualTo(columns);
            assertThat(((MultitaskPromptConfig) run.method).factors().task()).isEqualTo(2);
            step(run, optimizer, 1);
            float[] after = values(run, "prefix_task_cols");
            for (int i = 0; i < 6; i++) { // of three tasks two numbers each; a decay moves all a little
                double moved = Math.abs(after[i] - columns[i]);
                if (i < 4) {
                    assertThat(moved).as("number " + i).isLessThan(1e-4);
                } else {
                    assertThat(moved).as("number " + i).isGreaterThan(1e-3);
                }
            }
        }
    }

    @Test
    void labelsOfAPromptNeedALanguageModel() {
        RunConfig config = config(CptConfig.of(List.of(5, 9, 7, 11), List.of(1, 2, 3, 4)))
                .task(SequenceClassificationConfig.builder()
                        .labels("0", "1")
                        .maxLength(16)
                        .build())
                .build();
        assertThatThrownBy(() -> load(config).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("method.type cpt learns from the labels in its prompt");
    }
}
