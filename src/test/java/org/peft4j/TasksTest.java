package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.BaseModel.Request;
import org.peft4j.TextClassifier.Prediction;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.ProblemType;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.io.Json;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.run.RunResult;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/** Tasks over one base: adapters of different ones in one call, from many threads; training and rows from memory. */
@Timeout(300)
class TasksTest {
    private static final List<String> WORDS =
            List.of("email", "list", "number", "spam", "mail", "url", "from", "the", "this", "will", "your", "just");

    @TempDir
    static Path shared;

    @TempDir
    Path temporary;

    private static BaseModel base;
    private static final Map<String, LoadedAdapter> ADAPTERS = new LinkedHashMap<>();

    @BeforeAll
    static void train() throws IOException {
        base = BaseModel.open(model());
        add("two", classes(2), LoraConfig.builder().r(2).build(), i -> labelled("class " + i % 2, i));
        add("three", classes(3), PrefixConfig.of(3), i -> labelled("class " + i % 3, i));
        add("five", classes(5), Ia3Config.defaults(), i -> labelled("class " + i % 5, i));
        add(
                "topics",
                classes(3).toBuilder().problem(ProblemType.MULTI_LABEL).build(),
                LoraConfig.builder().r(2).build(),
                i -> labelled(i % 4 == 0 ? List.of() : List.of("class " + i % 3, "class 1"), i));
        add(
                "number",
                SequenceClassificationConfig.builder()
                        .problem(ProblemType.REGRESSION)
                        .maxLength(16)
                        .newHead(true)
                        .build(),
                LoraConfig.builder().r(2).build(),
                i -> labelled(0.5 * i, i));
        add(
                "tagger",
                TokenClassificationConfig.defaults().withMaxLength(16).withNewHead(true),
                PromptConfig.of(2),
                i -> Map.of("words", List.of(word(i), word(i + 1)), "tags", List.of("B-X", i % 2 == 0 ? "I-X" : "O")));
        add(
                "embedder",
                EmbeddingConfig.builder().maxLength(16).build(),
                LoraConfig.builder().r(2).build(),
                i -> Map.of("text", word(i), "positive", word(i) + " " + word(i + 1)));
    }

    @AfterAll
    static void close() {
        base.close();
    }

    private static ModelConfig model() {
        return ModelConfig.of(Fixtures.TINY_BERT).withDropout(ModelConfig.Dropout.OFF);
    }

    private static SequenceClassificationConfig classes(int count) {
        return SequenceClassificationConfig.builder()
                .labels(IntStream.range(0, count).mapToObj(c -> "class " + c).toArray(String[]::new))
                .maxLength(16)
                .newHead(true)
                .build();
    }

    private static String word(int i) {
        return WORDS.get(i % WORDS.size());
    }

    private static Map<String, Object> labelled(Object label, int i) {
        return Map.of("text", word(i) + " " + word(i * 5 + 1), "label", label);
    }

    private static Stream<Map<String, Object>> rows(java.util.function.IntFunction<Map<String, Object>> row) {
        return IntStream.range(0, 20).mapToObj(row);
    }

    private static void add(
            String name, TaskConfig task, MethodConfig method, java.util.function.IntFunction<Map<String, Object>> row)
            throws IOException {
        RunConfig config = config(task, shared.resolve(name)).method(method).build();
        Trainer.of(config).on(base).rows(rows(row)).train();
        ADAPTERS.put(name, base.load(name, shared.resolve(name)));
    }

    private static RunConfig.Builder config(TaskConfig task, Path output) {
        return RunConfig.builder()
                .model(model())
                .task(task)
                .method(LoraConfig.builder().r(2).build())
                .training(TrainingConfig.builder()
                        .epochs(2)
                        .batchSize(5)
                        .learningRate(2e-2)
                        .build())
                .output(output);
    }

    // One base, many adapters.

    /** Rows for all adapters, in turn, and what each is told of its own alone. */
    private static List<Request> requests() {
        List<Request> requests = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            for (LoadedAdapter adapter : ADAPTERS.values()) {
                requests.add(new Request(
                        adapter,
                        adapter.name().equals("tagger")
                                ? Map.of("words", List.of(word(i), "you", word(i + 4)))
                                : Map.of("text", word(i) + " you ".repeat(i) + word(i + 4))));
            }
        }
        return requests;
    }

    @Test
    void adaptersOfAllTasksAnswerInOneCallAsAlone() {
        List<Request> requests = requests();

        List<Map<String, @Nullable Object>> together = base.answer(requests);

        assertThat(together).hasSize(requests.size());
        for (int i = 0; i < requests.size(); i++) {
            same(base.answer(List.of(requests.get(i))).get(0), together.get(i));
        }
        assertThat(together.get(0).get("logits")).asList().hasSize(2);
        assertThat(together.get(1).get("logits")).asList().hasSize(3);
        assertThat(together.get(2).get("logits")).asList().hasSize(5);
        assertThat(together.get(3).get("label")).isInstanceOf(List.class);
        assertThat(together.get(4).get("label")).isInstanceOf(Float.class);
        assertThat(together.get(5).get("tags")).asList().hasSize(3).isSubsetOf("B-X", "I-X", "O");
        assertThat(together.get(6).get("embedding")).asList().hasSize(32);
    }

    private static void same(Object expected, Object actual) {
        if (expected instanceof Map<?, ?> map) {
            assertThat(((Map<?, ?>) actual).keySet()).isEqualTo(map.keySet());
            map.forEach((key, value) -> same(value, ((Map<?, ?>) actual).get(key)));
        } else if (expected instanceof List<?> list) {
            assertThat((List<?>) actual).hasSameSizeAs(list);
            for (int i = 0; i < list.size(); i++) {
                same(list.get(i), ((List<?>) actual).get(i));
            }
        } else if (expected instanceof Float number) {
            assertThat((Float) actual).isCloseTo(number, within(1e-5f * Math.max(1, Math.abs(number))));
        } else {
            assertThat(actual).isEqualTo(expected);
        }
    }

    @Test
    void eightThreadsAreAnsweredAsOne() throws Exception {
        List<Request> requests = requests();
        List<Map<String, @Nullable Object>> expected = base.answer(requests);
        ExecutorService threads = Executors.newFixedThreadPool(8);
        try {
            List<Future<?>> calls = new ArrayList<>();
            for (int t = 0; t < 8; t++) {
                int first = t;
                calls.add(threads.submit(() -> {
                    for (int i = 0; i < 5; i++) {
                        assertThat(base.answer(requests)).isEqualTo(expected);
                        int one = (first * 5 + i) % requests.size();
                        same(
                                expected.get(one),
                                base.answer(List.of(requests.get(one))).get(0));
                    }
                }));
            }
            for (Future<?> call : calls) {
                call.get();
            }
        } finally {
            threads.shutdownNow();
        }
    }

    @Test
    void anAdapterOfAnotherModelIsRefused() throws IOException {
        try (BaseModel other = BaseModel.open(Fixtures.TINY_BERT)) {
            assertThatThrownBy(() -> other.answer(List.of(new Request(ADAPTERS.get("two"), Map.of("text", "a")))))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("'two' is loaded on another model");
        }
    }

    @Test
    void aClosedAdapterIsRefusedAndTheOthersStay() throws IOException {
        LoadedAdapter closed = base.load("again", shared.resolve("two"));
        closed.close();
        assertThatThrownBy(() -> base.answer(List.of(new Request(closed, Map.of("text", "a")))))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("'again'");
        assertThat(base.answer(List.of(new Request(ADAPTERS.get("two"), Map.of("text", "a")))))
                .hasSize(1);
    }

    @Test
    void aFaceForAnotherTaskIsRefused() {
        assertThatThrownBy(() -> TextClassifier.of(ADAPTERS.get("tagger")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("'tagger' does token-classification, not sequence-classification");
        assertThatThrownBy(() -> TokenTagger.of(ADAPTERS.get("two"))).isInstanceOf(ConfigException.class);
        assertThatThrownBy(() -> TextEmbedder.of(ADAPTERS.get("two"))).isInstanceOf(ConfigException.class);
        assertThatThrownBy(() -> TextGenerator.of(ADAPTERS.get("two"))).isInstanceOf(ConfigException.class);
        assertThatThrownBy(() -> base.load(
                        "x",
                        shared.resolve("two"),
                        LoadedAdapter.Options.defaults().withTask(EmbeddingConfig.TYPE)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("trained for the task sequence-classification, not for embedding");
    }

    @Test
    void aTaskThatTheFamilyCannotDoIsRefusedBeforeAnythingIsWritten() {
        RunConfig config = config(CausalLmConfig.defaults().withMaxLength(16), temporary.resolve("run"))
                .build();

        assertThatThrownBy(() -> Trainer.of(config)
                        .on(base)
                        .rows(rows(i -> Map.of("text", word(i))))
                        .train())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("a model of the family bert cannot do language modelling");
        assertThat(temporary.resolve("run")).doesNotExist();
    }

    /** Conversations from memory, with a chat template of the caller's. */
    @Test
    void conversationsFromMemoryAreTrainedAndShown() throws IOException {
        Path template = Fixtures.ROOT.resolve("chat-templates/own/chatml.jinja");
        RunConfig config = config(
                        CausalLmConfig.defaults().withTemplate(template.toString()), temporary.resolve("chat"))
                .model(ModelConfig.of(Fixtures.TINY_LLAMA))
                .build();
        java.util.function.Supplier<Stream<Map<String, Object>>> rows = () -> rows(i -> Map.of(
                "messages",
                List.of(
                        Map.of("role", "user", "content", word(i)),
                        Map.of("role", "assistant", "content", word(i + 1)))));

        Trainer.of(config).rows(rows.get()).train();

        List<RowPreview.Shown> shown = new ArrayList<>();
        try (RowPreview preview =
                RowPreview.open(Fixtures.TINY_LLAMA, config.output(), LoadedAdapter.Options.defaults())) {
            preview.show(rows.get(), shown::add);
        }
        assertThat(shown).hasSize(20);
        RowPreview.Shown first = shown.get(0);
        assertThat(first.where()).isEqualTo("row 1 of the stream");
        assertThat(first.rendered())
                .isEqualTo("<|im_start|>user\n" + word(0) + "<|im_end|>\n<|im_start|>assistant\n" + word(1)
                        + "<|im_end|>\n");
        assertThat(first.trained()).hasSameSizeAs(first.ids()).contains(0, 1);
        assertThat(first.pieces()).hasSameSizeAs(first.ids());
        try (BaseModel llama = BaseModel.open(Fixtures.TINY_LLAMA)) {
            LoadedAdapter adapter = llama.load("chat", config.output());
            assertThat(adapter.evaluate(rows.get(), 7).counts().get("tokens"))
                    .isEqualTo(shown.stream()
                            .mapToLong(row -> java.util.Collections.frequency(row.trained(), 1))
                            .sum());
        }
    }

    // What is said of a text.

    @Test
    void probabilitiesAreTheSoftmaxOfOneLabel() {
        Prediction said = TextClassifier.of(ADAPTERS.get("three")).predict("spam from your list");

        double sum = said.logits().stream().mapToDouble(Math::exp).sum();
        for (int c = 0; c < 3; c++) {
            assertThat(said.probabilities().get(c))
                    .isCloseTo((float) (Math.exp(said.logits().get(c)) / sum), within(1e-6f));
        }
        int best = IntStream.range(0, 3)
                .boxed()
                .max(java.util.Comparator.comparing(said.probabilities()::get))
                .orElseThrow();
        assertThat(said.label()).isEqualTo("class " + best);
        assertThatThrownBy(said::value).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void probabilitiesOfSeveralLabelsAreTheirSigmoids() {
        TextClassifier topics = TextClassifier.of(ADAPTERS.get("topics"));

        for (Prediction said : topics.predict(List.of("spam", "the list", "url url url"))) {
            List<String> likely = new ArrayList<>();
            for (int c = 0; c < 3; c++) {
                float p = said.probabilities().get(c);
                assertThat(p)
                        .isCloseTo((float) (1 / (1 + Math.exp(-said.logits().get(c)))), within(1e-6f));
                if (p > 0.5) {
                    likely.add("class " + c);
                }
            }
            assertThat(said.labels()).isEqualTo(likely);
        }
    }

    @Test
    void aRegressionHasANumberAndNoProbabilities() {
        Prediction said = TextClassifier.of(ADAPTERS.get("number")).predict("spam");

        assertThat(said.probabilities()).isEmpty();
        assertThat(said.labels()).isEmpty();
        assertThat(said.value()).isEqualTo(said.logits().get(0));
        assertThatThrownBy(said::label).isInstanceOf(IllegalStateException.class);
    }

    // Rows from memory.

    private static Map<String, Object> twoClasses(int i) {
        return labelled("class " + i % 2, i);
    }

    private Path file() throws IOException {
        StringBuilder lines = new StringBuilder();
        rows(TasksTest::twoClasses)
                .forEach(row -> lines.append(Json.write(row).replace("\n", "")).append('\n'));
        return Files.writeString(temporary.resolve("rows.jsonl"), lines);
    }

    @Test
    void trainingFromAStreamIsTrainingFromAFile() throws IOException {
        Path file = file();
        AtomicBoolean closed = new AtomicBoolean();
        AtomicBoolean validationClosed = new AtomicBoolean();

        Trainer.train(config(classes(2), temporary.resolve("file"))
                .data(new DataConfig(file, file))
                .build());
        Trainer.of(config(classes(2), temporary.resolve("stream")).build())
                .rows(rows(TasksTest::twoClasses).onClose(() -> closed.set(true)))
                .validationRows(rows(TasksTest::twoClasses).onClose(() -> validationClosed.set(true)))
                .train();

        assertThat(closed).isTrue();
        assertThat(validationClosed).isTrue();
        assertThat(temporary.resolve("stream/adapter_model.safetensors"))
                .hasSameBinaryContentAs(temporary.resolve("file/adapter_model.safetensors"));
        assertThat(Files.readAllLines(temporary.resolve("stream/metrics.jsonl")))
                .as("8 steps and 2 evaluations")
                .hasSize(10);
    }

    @Test
    void aRowOfAStreamIsNamedByItsPlace() {
        Trainer trainer = Trainer.of(
                        config(classes(2), temporary.resolve("run")).build())
                .rows(rows(i -> i == 6 ? labelled("class 7", i) : twoClasses(i)));

        assertThatThrownBy(trainer::train).hasMessageContaining("the stream: row 7: label 'class 7'");
        assertThat(temporary.resolve("run")).doesNotExist();
    }

    @Test
    void evaluatingAndPredictingFromMemoryIsTheSameAsFromAFile() throws IOException {
        TextClassifier classifier = TextClassifier.of(ADAPTERS.get("two"));
        Path file = file();
        List<Prediction> fromFile = new ArrayList<>();
        List<Prediction> fromMemory = new ArrayList<>();
        List<Object> texts = new ArrayList<>();
        AtomicBoolean closed = new AtomicBoolean();

        classifier.predict(file, (row, said) -> fromFile.add(said));
        classifier.predict(rows(TasksTest::twoClasses).onClose(() -> closed.set(true)), (row, said) -> {
            texts.add(row.get("text"));
            fromMemory.add(said);
        });

        assertThat(closed).isTrue();
        assertThat(fromMemory).hasSize(20).isEqualTo(fromFile);
        assertThat(texts).startsWith(twoClasses(0).get("text"), twoClasses(1).get("text"));
        assertThat(classifier.evaluate(rows(TasksTest::twoClasses))).isEqualTo(classifier.evaluate(file));
    }

    // In the background.

    @Test
    void aStoppedRunEndsAfterItsStepWithTheAdapterSaved() throws Exception {
        ExecutorService executor = Executors.newSingleThreadExecutor();
        try {
            java.util.concurrent.CompletableFuture<TrainingHandle> handle =
                    new java.util.concurrent.CompletableFuture<>();
            TrainingHandle started = Trainer.of(config(classes(2), temporary.resolve("run"))
                            .training(TrainingConfig.builder()
                                    .epochs(1000)
                                    .batchSize(5)
                                    .build())
                            .build())
                    .on(base)
                    .rows(rows(TasksTest::twoClasses))
                    .listener(new TrainListener() {
                        @Override
                        public void step(StepMetrics metrics, long totalSteps) {
                            if (metrics.step() == 3) {
                                handle.join().stop();
                            }
                        }
                    })
                    .start(executor);
            handle.complete(started);

            RunResult result = started.join();

            assertThat(result.status()).isEqualTo(RunResult.Status.INTERRUPTED);
            assertThat(result.steps()).isEqualTo(3);
            assertThat(started.isDone()).isTrue();
            assertThat(started.result()).isCompletedWithValue(result);
            assertThat(executor.submit(Thread::interrupted).get())
                    .as("the executor's thread goes on without an interrupt")
                    .isFalse();
            started.stop(); // of no effect
            try (LoadedAdapter adapter = base.load("stopped", temporary.resolve("run"))) {
                assertThat(TextClassifier.of(adapter).predict("spam").logits()).hasSize(2);
            }
        } finally {
            executor.shutdownNow();
        }
    }

    @Test
    void aRunInTheBackgroundTellsItsResultOrItsFailure() throws Exception {
        ExecutorService executor = Executors.newSingleThreadExecutor();
        try {
            Path file = file();
            RunConfig config = config(classes(2), temporary.resolve("run"))
                    .data(new DataConfig(file, null))
                    .build();

            assertThat(Trainer.start(config, executor).join().status()).isEqualTo(RunResult.Status.FINISHED);

            TrainingHandle again = Trainer.start(config, executor);
            assertThatThrownBy(again::join).isInstanceOf(ConfigException.class);
            assertThat(again.result()).isCompletedExceptionally();
        } finally {
            executor.shutdownNow();
        }
    }
}
