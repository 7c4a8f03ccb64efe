package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.error.TrainingException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.nn.Tensors;
import org.peft4j.optim.AdamW;
import org.peft4j.run.RunConfigFile;
import org.peft4j.task.Example;

/** Runs whose method looks at their first rows before it begins. */
class FirstLookTest {
    private static OpenedModel llama;
    private static OpenedModel bert;

    @TempDir
    Path dir;

    @BeforeAll
    static void open() throws IOException {
        llama = OpenedModel.open(ModelConfig.of(Fixtures.TINY_LLAMA), 0);
        bert = OpenedModel.open(ModelConfig.of(Fixtures.TINY_BERT), 0);
    }

    @AfterAll
    static void close() {
        llama.close();
        bert.close();
    }

    private static RunConfig config(OpenedModel model, String method, String... more) {
        Map<String, Object> run = new LinkedHashMap<>();
        run.put("model", model.config().path().toString());
        run.put("task", Map.of("type", model == llama ? "causal-lm" : "sequence-classification", "max_length", 40));
        run.put("data", Map.of("train", "no-file"));
        run.put("training", Map.of("batch_size", 4, "seed", 7));
        run.put("output", "not-written");
        return RunConfigFile.of(
                run,
                "a test",
                IntStream.range(0, 1 + more.length)
                        .mapToObj(i -> i == 0 ? "method=" + method : more[i - 1])
                        .toList());
    }

    private static LoadedRun<?> load(OpenedModel model, RunConfig config) throws IOException {
        return LoadedRun.load(config, model, rows(model));
    }

    private static RunRows rows(OpenedModel model) {
        return new RunRows(
                columns -> RowReader.of(IntStream.range(0, 10)
                        .mapToObj(i -> model == llama
                                ? Map.of("prompt", "you have a mail " + i, "response", "it is spam, number " + i)
                                : Map.of("text", "you have a mail " + i, "label", i % 2))),
                null);
    }

    @Test
    void anInterruptEndsTheLook() {
        AtomicInteger asked = new AtomicInteger();
        assertThatThrownBy(() -> LoadedRun.load(
                        config(llama, "{type: lora, init: corda}"),
                        llama,
                        rows(llama),
                        () -> asked.incrementAndGet() > 1))
                .isInstanceOf(TrainingException.class)
                .hasMessageContaining("interrupted");
        assertThat(asked).hasValue(2);
    }

    @ParameterizedTest
    @CsvSource({"training.groups.lora_C.learning_rate=1e-3, lora_C", "task.task_id=0, task.task_id"})
    void whatCannotBeIsSaidBeforeTheLook(String setting, String message) {
        assertThatThrownBy(() ->
                        LoadedRun.load(config(llama, "{type: lora, init: corda}", setting), llama, rows(llama), () -> {
                            throw new AssertionError("it looks");
                        }))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }

    private static Map<String, float[]> values(LoadedRun<?> run) {
        Map<String, float[]> values = new LinkedHashMap<>();
        run.adapter.parameters().forEach((path, parameter) -> values.put(path, Tensors.toFloats(parameter.value())));
        return values;
    }

    private static <E extends Example> double step(LoadedRun<E> run) {
        try (AdamW optimizer = new AdamW(run.groups)) {
            return new TrainingStep<>(run, optimizer)
                    .run(List.of(new int[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), 1, 1)
                    .loss();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"eva", "corda", "lora_ga"})
    void theFirstLossIsThatOfTheBase(String init) throws Exception {
        for (OpenedModel model : List.of(llama, bert)) {
            String method = "{type: lora, r: 2, init: %s, calibration_rows: 6}";
            Map<String, float[]> first;
            double loss;
            try (LoadedRun<?> run = load(model, config(model, method.formatted(init)))) {
                first = values(run);
                assertThat(run.notes)
                        .anySatisfy(note -> assertThat(note)
                                .startsWith("init " + init + " has looked at ")
                                .contains("6 texts of the training data"));
                loss = step(run);
            }
            try (LoadedRun<?> again =
                    load(model, config(model, method.formatted(init), "training.checkpointing=block"))) {
                Map<String, float[]> second = values(again);
                assertThat(second.keySet()).isEqualTo(first.keySet());
                first.forEach(
                        (path, own) -> assertThat(second.get(path)).as(path).isEqualTo(own));
            }
            try (LoadedRun<?> plain = load(model, config(model, "{type: lora, r: 2}"))) {
                assertThat(loss).isCloseTo(step(plain), org.assertj.core.data.Offset.offset(1e-5));
            }
        }
    }

    @Test
    void otherRowsGiveAnotherStart() throws Exception {
        try (LoadedRun<?> few = load(llama, config(llama, "{type: lora, init: corda, calibration_rows: 2}"));
                LoadedRun<?> all = load(llama, config(llama, "{type: lora, init: corda}"))) {
            assertThat(all.notes).contains("init corda has looked at 10 texts of the training data with 220 tokens");
            String path = "model.layers.0.self_attn.q_proj.lora_A.weight";
            assertThat(values(few).get(path)).isNotEqualTo(values(all).get(path));
        }
    }

    /** EVA's ranks are those of the file, and it is read as it is written; a run goes on from it. */
    @Test
    void ranksOfEvaAreKeptInFiles() throws Exception {
        RunConfig config = config(
                llama, "{type: lora, r: 3, targets: all-linear, init: eva, eva: {rho: 4, use_label_mask: false}}");
        try (LoadedRun<?> run = load(llama, config)) {
            LoraConfig lora = (LoraConfig) run.method;
            assertThat(lora.targets()).isInstanceOf(Targets.Names.class);
            assertThat(lora.rankPattern()).isNotEmpty().hasSameSizeAs(lora.alphaPattern());
            AdapterStore.write(dir, run.adapter, run.method, run.model.points(), "tiny-llama", "CAUSAL_LM");
            assertThat(AdapterFiles.read(dir).config())
                    .containsEntry("init_lora_weights", "eva")
                    .hasEntrySatisfying(
                            "eva_config", eva -> assertThat(eva.toString()).contains("rho=4"));
            AdapterStore.Loaded loaded = AdapterStore.read(dir, "again", run.model.points());
            try (var again = loaded.adapter()) {
                assertThat(loaded.notes()).isEmpty();
                assertThat(((LoraConfig) loaded.config()).init()).isEqualTo(InitLora.EVA);
                assertThat(again.lowRanks()).hasSameSizeAs(run.adapter.lowRanks());
                for (int i = 0; i < again.lowRanks().size(); i++) {
                    assertThat(again.lowRanks().get(i).scale())
                            .isEqualTo(run.adapter.lowRanks().get(i).scale());
                }
            }
        }
        try (LoadedRun<?> next = load(llama, config(llama, "{type: lora, r: 3}", "adapter=" + dir))) {
            assertThat(next.notes).noneMatch(note -> note.contains("has looked"));
        }
    }

    /** The budget goes where it explains most; layers that explain nothing have no adapter. */
    @Test
    void layersWithoutARankHaveNoAdapter() throws Exception {
        RunConfig config = config(llama, "{type: lora, r: 1, targets: all-linear, init: eva, eva: {rho: 8}}");
        try (LoadedRun<?> run = load(llama, config);
                PointerScope scope = new PointerScope()) {
            long ranks = run.adapter.lowRanks().stream()
                    .mapToLong(update -> update.a().size(0))
                    .sum();
            assertThat(ranks).isEqualTo(14);
            assertThat(run.adapter.lowRanks()).hasSizeLessThan(14);
            assertThat(run.notes).anyMatch(note -> note.contains("without an adapter: model.layers."));
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{type: lora, r: 9, init: lora_ga} | r must be at most 8 for model.layers.0.self_attn.v_proj with init lora_ga",
                "{type: lora, r: 40, init: eva} | r must be at most 32 for model.layers.0.self_attn.q_proj with init eva",
                "{type: lora, r: 17, targets: [k_proj], init: corda} | r must be at most 16 for model.layers.0.self_attn.k_proj",
                "{type: lora, targets: [embed_tokens], init: eva} | targets must be linear layers of the backbone with init eva",
                "{type: lora, r: 30, init: eva, calibration_rows: 1} | init eva needs at least 32 tokens",
                "{type: lora, targets: [lm_head], init: corda} | targets must be linear layers of the backbone with init corda",
            })
    void whatTheModelOrTheRowsDoNotAllow(String method, String message) {
        assertThatThrownBy(() -> load(llama, config(llama, method)).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{type: lora, init: eva, dora: true, eva: {rho: 0.5}} | rho must be from 1 to",
                "{type: lora, init: eva, eva: {tau: 1.5}} | tau must be from 0 to 1",
                "{type: lora, eva: {rho: 1}} | eva is for init eva alone",
                "{type: lora, init: eva, corda: {corda_method: kpm}} | corda is for init corda alone",
                "{type: lora, init: corda, corda: {corda_method: most}} | one of ipm, kpm",
                "{type: lora, init: pissa, calibration_rows: 4} | calibration_rows is for init eva, corda and lora_ga alone",
                "{type: lora, init: eva, calibration_rows: 0} | calibration_rows must be at least 1",
                "{type: lora, init: lora_ga, lora_ga: {direction: up}} | one of ArB2r, A2rBr, ArBr, random",
                "{type: lora, init: lora_ga, lora_ga: {stable_gamma: 0}} | stable_gamma must be at least 1",
                "{type: lora, init: lora_ga, lora_ga: {scale: unit, stable_gamma: 4}} | stable_gamma is for scale stable alone",
                "{type: lora, init: lora_ga, dora: true} | dora must be false with init lora_ga",
                "{type: lora, init: corda, lora_bias: true} | lora_bias must be false with init corda",
                "{type: lora, init: eva, eva_config: {rho: 1}} | it is called 'eva' here",
            })
    void settingsThatAreWrongByThemselves(String method, String message) {
        assertThatThrownBy(() -> config(llama, method))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }

    @Test
    void thereIsNoStartWithoutRows() {
        LoraConfig config = LoraConfig.builder().init(InitLora.CORDA).build();
        assertThatThrownBy(() ->
                        Methods.of(config).attach("a", config, llama.model().points(), 0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("got corda")
                .hasMessageContaining("train with it");
    }
}
