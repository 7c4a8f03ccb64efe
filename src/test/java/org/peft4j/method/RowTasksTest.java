package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.poly.PolyConfig;
import org.peft4j.method.poly.Skills;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.RowTasks;

/** Rows of several of an adapter's tasks in one batch: what PEFT computes (build-scripts/fixtures/tasks.py), and what each gets alone. */
class RowTasksTest {
    private static final Path ROOT = Fixtures.ROOT.resolve("tasks");
    private static final ModelOptions OPTIONS = new ModelOptions(false, false, 0);
    private static final Fixtures.Sentences MAILS = Fixtures.tinySentences();
    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));

    private static HeadedModel bert;
    private static HeadedModel llama;

    @TempDir
    Path directory;

    @BeforeAll
    static void open() throws Exception {
        bert = HeadedModel.open(Fixtures.tinyBert(), OPTIONS, HeadKind.SEQUENCE, HeadOptions.of(2));
        llama = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA), OPTIONS, HeadKind.LANGUAGE, HeadOptions.of(0));
    }

    @AfterAll
    static void close() {
        bert.close();
        llama.close();
    }

    private static HeadedModel model(String name) {
        return name.endsWith("llama") ? llama : bert;
    }

    private static AdapterStore.Loaded load(String name) throws Exception {
        return AdapterStore.read(ROOT.resolve(name), name, model(name).points());
    }

    private static Map<String, TensorData> expected(String name) {
        return Fixtures.read(ROOT.resolve(name).resolve("expected.safetensors"));
    }

    private static int[] tasks(Map<String, TensorData> expected) {
        return Fixtures.ints(expected.get("task_ids"));
    }

    private static int[] ids(int text) {
        return TEXTS.only(text).tokens();
    }

    /** Of a language model each text's logits, else one text's class scores, all in one batch. */
    private static float[] logits(
            HeadedModel model, List<int[]> texts, List<@Nullable Adapter> adapterOf, int... tasks) {
        int[] tokens = texts.stream().flatMapToInt(Arrays::stream).toArray();
        int[] lengths = texts.stream().mapToInt(text -> text.length).toArray();
        try (PointerScope scope = new PointerScope();
                ForwardContext plain = ForwardContext.inference(Packing.of(lengths), adapterOf);
                ForwardContext context = plain.withTasks(tasks)) {
            if (model == bert) {
                return Tensors.toFloats(model.outputs(Tokens.of(tokens), context));
            }
            Tensor h = BlockRunner.plain().forward(model.model(), Tokens.of(tokens), ReadRows.TEXT, context);
            return Tensors.toFloats(model.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    private static List<int[]> texts(HeadedModel model) {
        Fixtures.Sentences all = model == bert ? MAILS : TEXTS;
        return IntStream.range(0, all.packing().sequences())
                .mapToObj(s -> all.only(s).tokens())
                .toList();
    }

    private static float[] logits(HeadedModel model, Adapter adapter, int... tasks) {
        List<int[]> texts = texts(model);
        return logits(model, texts, Collections.nCopies(texts.size(), adapter), tasks);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "poly/tiny-bert",
                "poly/tiny-llama",
                "poly-splits/tiny-bert",
                "poly-splits/tiny-llama",
                "multitask/tiny-bert",
                "multitask/tiny-llama"
            })
    void logitsEqualPeftsAndFilesAreWrittenBack(String name) throws Exception {
        AdapterStore.Loaded loaded = load(name);
        Map<String, TensorData> expected = expected(name);
        AdapterFile theirs = AdapterFiles.read(ROOT.resolve(name));
        try (Adapter adapter = loaded.adapter()) {
            assertThat(loaded.notes()).isEmpty();
            assertThat(adapter.tasks()).isEqualTo(3);
            assertThat(maxDifference(
                            logits(model(name), adapter, tasks(expected)),
                            expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
            AdapterStore.write(
                    directory,
                    adapter,
                    loaded.config(),
                    model(name).points(),
                    String.valueOf(theirs.config().get("base_model_name_or_path")),
                    String.valueOf(theirs.config().get("task_type")));
        }
        AdapterFile ours = AdapterFiles.read(directory);
        assertThat(new TreeMap<>(ours.tensors()))
                .containsOnlyKeys(theirs.tensors().keySet());
        theirs.tensors().forEach((key, data) -> {
            assertThat(ours.tensors().get(key).bytes()).as(key).isEqualTo(data.bytes());
            assertThat(ours.tensors().get(key).shape()).as(key).isEqualTo(data.shape());
        });
        Map<String, Object> known = new TreeMap<>(theirs.config());
        known.remove("peft_version");
        known.forEach(
                (key, value) -> assertThat(PeftFilesTest.normal(ours.config().get(key)))
                        .as(key)
                        .isEqualTo(PeftFilesTest.normal(value)));
        assertThat(known)
                .containsKeys(ours.config().keySet().stream()
                        .filter(key -> !key.equals("peft_version"))
                        .toArray(String[]::new));
    }

    /** Poly's routers draw in PEFT what they draw here: by step, layer and place in the batch. */
    @ParameterizedTest
    @ValueSource(strings = {"poly/tiny-llama", "poly-splits/tiny-llama", "multitask/tiny-llama"})
    void gradientsAndLossesEqualPefts(String name) throws Exception {
        Map<String, TensorData> expected = expected(name);
        try (Adapter adapter = load(name).adapter()) {
            LanguageTraining.firstStepEqualsPefts(
                    llama, adapter, TEXTS, BlockRunner.plain(), expected, tasks(expected));
            LanguageTraining.clearGradients(adapter);
        }
        try (Adapter adapter = load(name).adapter()) {
            LanguageTraining.lossesEqualPefts(llama, adapter, TEXTS, expected, tasks(expected));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"poly-splits/tiny-llama", "multitask/tiny-llama"})
    void blocksAreRecomputedBitByBit(String name) throws Exception {
        int[] tasks = tasks(expected(name));
        try (Adapter kept = load(name).adapter();
                Adapter again = load(name).adapter();
                RecomputedBlocks blocks = new RecomputedBlocks()) {
            double one = LanguageTraining.backward(llama, kept, TEXTS, BlockRunner.plain(), 4, tasks);
            double two = LanguageTraining.backward(llama, again, TEXTS, blocks, 4, tasks);
            assertThat(two).isEqualTo(one);
            kept.parameters()
                    .forEach((path, parameter) -> assertThat(Tensors.toFloats(
                                    again.parameters().get(path).value().grad()))
                            .as(path)
                            .isEqualTo(Tensors.toFloats(parameter.value().grad())));
            assertThat(LanguageTraining.backward(llama, kept, TEXTS, BlockRunner.plain(), 5, tasks) == one)
                    .as("another step draws otherwise")
                    .isEqualTo(name.startsWith("multitask"));
        }
    }

    /** Tasks that take turns, beside rows of another adapter, of none, and of the same adapter's other task. */
    @ParameterizedTest
    @ValueSource(strings = {"poly/tiny-llama", "poly-splits/tiny-bert", "multitask/tiny-bert", "multitask/tiny-llama"})
    void rowsOfABatchAreAsAlone(String name) throws Exception {
        HeadedModel model = model(name);
        try (Adapter adapter = load(name).adapter();
                Adapter lora = lora(model)) {
            List<int[]> texts = new ArrayList<>(texts(model));
            texts.addAll(texts(model));
            List<@Nullable Adapter> adapterOf = new ArrayList<>();
            int[] tasks = new int[texts.size()];
            for (int i = 0; i < tasks.length; i++) {
                adapterOf.add(i % 4 == 3 ? lora : i == 6 ? null : adapter);
                tasks[i] = i % 3;
            }
            float[] all = logits(model, texts, adapterOf, tasks);
            int at = 0;
            for (int i = 0; i < tasks.length; i++) {
                float[] alone = logits(model, List.of(texts.get(i)), Arrays.asList(adapterOf.get(i)), tasks[i]);
                assertThat(maxDifference(Arrays.copyOfRange(all, at, at + alone.length), alone))
                        .as("row " + i)
                        .isLessThan(1e-4);
                at += alone.length;
            }
        }
    }

    private static Adapter lora(HeadedModel model) {
        LoraConfig config = LoraConfig.builder().r(2).build();
        Adapter adapter = Methods.of(config).attach("lora", config, model.points(), 1);
        for (Parameter parameter : adapter.parameters().values()) {
            try (PointerScope scope = new PointerScope()) {
                parameter.set(Tensors.toFloats(org.peft4j.nn.Init.normal(2, parameter.path(), 0.3, parameter.shape())));
            }
        }
        return adapter;
    }

    @ParameterizedTest
    @ValueSource(strings = {"poly/tiny-llama", "poly-splits/tiny-llama", "multitask/tiny-llama"})
    void cachedTextOfSeveralTasksIsPefts(String name) throws Exception {
        Map<String, TensorData> expected = expected(name);
        int[] tasks = tasks(expected);
        int[] theirs = Fixtures.ints(expected.get("greedy"));
        int fresh = theirs.length / tasks.length;
        try (Adapter adapter = load(name).adapter()) {
            List<Prompt> prompts = new ArrayList<>();
            for (int s = 0; s < tasks.length; s++) {
                prompts.add(new Prompt(ids(s), adapter, s).ofTask(tasks[s]));
            }
            List<Generated> together = generate(prompts, fresh);
            for (int s = 0; s < tasks.length; s++) {
                assertThat(together.get(s).ids())
                        .as("text " + s)
                        .isEqualTo(Arrays.copyOfRange(theirs, s * fresh, (s + 1) * fresh));
                assertThat(generate(List.of(prompts.get(s)), fresh).get(0).ids())
                        .as("text " + s + " alone")
                        .isEqualTo(together.get(s).ids());
            }
            List<Generator.Scored> texts =
                    List.of(new Generator.Scored(ids(4), 1, adapter, 0), new Generator.Scored(ids(4), 1, adapter, 2));
            Generator generator = new Generator(llama.model(), (LanguageHead) llama.head());
            List<Generator.Score> scores = generator.score(texts);
            assertThat(scores.get(0).logProb()).isNotEqualTo(scores.get(1).logProb());
            assertThat(generator.score(texts.subList(1, 2)).get(0).logProb())
                    .isCloseTo(scores.get(1).logProb(), org.assertj.core.data.Offset.offset(1e-4));
        }
    }

    private static List<Generated> generate(List<Prompt> prompts, int fresh) {
        return new Generator(llama.model(), (LanguageHead) llama.head())
                .generate(
                        prompts,
                        new GenerationSettings(fresh, Sampling.GREEDY, List.of(), List.of()),
                        null,
                        GenerationListener.NONE);
    }

    @Test
    void rowsThatDoNotFitTheAdapterAreRefused() throws Exception {
        try (Adapter poly = load("poly/tiny-llama").adapter();
                Adapter multitask = load("multitask/tiny-llama").adapter();
                Adapter lora = lora(llama)) {
            int none = RowTasks.NONE;
            assertThatThrownBy(() -> logits(llama, poly, 0, 1, none, 2, 0))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("the adapter 'poly/tiny-llama' has 3 tasks")
                    .hasMessageContaining("task.task_id names the column");
            assertThatThrownBy(() -> logits(llama, poly, 0, 1, 3, 2, 0))
                    .isInstanceOf(ConfigException.class)
                    .hasMessage("sequence 2: the task must be 0 to 2, one of the adapter's 3, got 3");
            assertThatThrownBy(() -> logits(llama, poly, 0, 1))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("5 sequences need as many tasks, got 2");
            assertThatThrownBy(() -> generate(List.of(new Prompt(ids(1), poly, 0)), 2))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageStartingWith("prompt 0: the adapter 'poly/tiny-llama' has 3 tasks");
            assertThatThrownBy(() -> generate(List.of(new Prompt(ids(1), poly, 0).ofTask(7)), 2))
                    .isInstanceOf(ConfigException.class)
                    .hasMessage("prompt 0: the task must be 0 to 2, one of the adapter's 3, got 7");
            assertThatThrownBy(() -> generate(List.of(new Prompt(ids(1), lora, 0).ofTask(0)), 2))
                    .isInstanceOf(ConfigException.class)
                    .hasMessage("prompt 0 is of task 0, but the adapter 'lora' has no tasks");
            // A multitask prompt has a task of its own for rows that say none.
            assertThat(logits(llama, multitask, none, none, none, none, none))
                    .isEqualTo(logits(llama, multitask, 0, 0, 0, 0, 0));
        }
    }

    @Test
    void anAdapterOfSeveralTasksIsNotMerged() throws Exception {
        AdapterStore.Loaded loaded = load("poly/tiny-llama");
        Method<PolyConfig> method = Methods.of((PolyConfig) loaded.config());
        try (Adapter adapter = loaded.adapter()) {
            assertThat(method.mergeRefusal()).isEmpty();
            assertThat(method.mergeRefusal((PolyConfig) loaded.config()))
                    .hasValueSatisfying(reason -> assertThat(reason).contains("each of its 3 tasks"));
            assertThatThrownBy(() -> method.merged(adapter, llama.points()))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageStartingWith("poly cannot be merged: each of its 3 tasks");
        }
    }

    /** One skill of one split is LoRA with an alpha of 1, however the task weighs it. */
    @Test
    void oneSkillIsLora() {
        PolyConfig poly = PolyConfig.defaults().withR(4).withSkills(Skills.of(2, 1));
        LoraConfig plain = LoraConfig.builder().r(4).alpha(1).build();
        try (Adapter skill = Methods.of(poly).attach("poly", poly, llama.points(), 3);
                Adapter lora = Methods.of(plain).attach("lora", plain, llama.points(), 3);
                PointerScope scope = new PointerScope()) {
            for (Parameter parameter : skill.parameters().values()) {
                Tensor values = org.peft4j.nn.Init.normal(9, parameter.path(), 0.3, parameter.shape());
                parameter.set(Tensors.toFloats(values));
                if (values.dim() == 4) {
                    String path = parameter.path().replace("poly_lora_A", "lora_A.weight");
                    lora.parameters()
                            .get(path.replace("poly_lora_B", "lora_B.weight"))
                            .set(Tensors.toFloats(
                                    values.select(0, 0).select(0, 0).t().contiguous()));
                }
            }
            assertThat(maxDifference(logits(llama, skill, 0, 1, 1, 0, 1), logits(llama, lora, 0, 0, 0, 0, 0)))
                    .isLessThan(1e-5);
        }
    }

    /** As a linear layer of torch begins: uniform within 1/√columns, of B within 1/√r. */
    @Test
    void withoutInitWeightsBBeginsAsADoes() {
        PolyConfig config =
                PolyConfig.defaults().withR(4).withSkills(Skills.of(2, 3).withSplits(2));
        try (Adapter zeros = Methods.of(config).attach("it", config, llama.points(), 3);
                Adapter random = Methods.of(config).attach("it", config.withInitWeights(false), llama.points(), 3);
                PointerScope scope = new PointerScope()) {
            String layer = "model.layers.0.self_attn.q_proj.";
            assertThat(most(zeros, layer + "poly_lora_B")).isZero();
            assertThat(most(random, layer + "poly_lora_B")).isBetween(0.45, 0.5);
            assertThat(most(random, layer + "poly_router.module_logits")).isBetween(5e-4, 1e-3);
            long inputs = random.parameters().get(layer + "poly_lora_A").shape()[2];
            assertThat(most(random, layer + "poly_lora_A")).isBetween(0.9 / Math.sqrt(inputs), 1 / Math.sqrt(inputs));
            assertThat(logits(llama, zeros, 0, 1, 1, 0, 1))
                    .isEqualTo(logits(llama, texts(llama), Collections.nCopies(5, null), 0, 1, 1, 0, 1));
        }
    }

    private static double most(Adapter adapter, String path) {
        double most = 0;
        for (float value : Tensors.toFloats(adapter.parameters().get(path).value())) {
            most = Math.max(most, Math.abs(value));
        }
        return most;
    }

    @Test
    void wrongSettingsAndFilesAreRefused() throws Exception {
        assertThatThrownBy(() -> PolyConfig.defaults().withR(0)).hasMessage("r must be at least 1, got 0");
        assertThatThrownBy(() -> Skills.of(0, 4)).hasMessage("nTasks must be at least 1, got 0");
        assertThatThrownBy(() -> Skills.of(1, 0)).hasMessage("nSkills must be at least 1, got 0");
        assertThatThrownBy(() -> Skills.of(1, 1).withSplits(0)).hasMessage("nSplits must be at least 1, got 0");
        PolyConfig thirds = PolyConfig.defaults().withSkills(Skills.of(1, 2).withSplits(3));
        assertThatThrownBy(() -> Methods.of(thirds).attach("it", thirds, llama.points(), 1))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageMatching("n_splits must divide the \\d+ inputs and \\d+ outputs of model.layers.0.*, got 3");
        AdapterFile file = AdapterFiles.read(ROOT.resolve("poly/tiny-llama"));
        for (Map.Entry<String, String> wrong : Map.of(
                        "poly_type", "poly_type \"other\" is not supported",
                        "n_tasks", "must have shape [4, 4] for this model, has [3, 4]",
                        "n_skills", "must have shape",
                        "n_splits", "n_splits must divide",
                        "r", "must have shape")
                .entrySet()) {
            Map<String, Object> config = new TreeMap<>(file.config());
            config.put(
                    wrong.getKey(),
                    wrong.getKey().equals("poly_type")
                            ? (Object) "other"
                            : wrong.getKey().equals("n_splits") ? 3 : 4);
            if (wrong.getKey().equals("n_skills")) {
                config.put("n_skills", 5);
            }
            AdapterFile changed = new AdapterFile(file.directory(), config, file.tensors());
            assertThatThrownBy(() -> AdapterStore.read(changed, "it", llama.points()))
                    .as(wrong.getKey())
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining(wrong.getValue());
        }
    }
}
