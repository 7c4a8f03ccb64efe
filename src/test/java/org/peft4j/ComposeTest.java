package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.config.Dtype;
import org.peft4j.config.ModelConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;
import org.peft4j.train.LoadedTask;

/** Adapters that act together in calls: on a tiny BERT, and on a tiny Llama that goes on with texts. */
@Timeout(120)
class ComposeTest {
    private static final List<String> TEXTS =
            List.of("list number you", "spam url from this email", "mail the list", "number your url just will");

    @TempDir
    static Path directory;

    private static BaseModel bert;
    private static final Map<String, LoadedAdapter> PARTS = new HashMap<>();

    private static BottleneckConfig bottleneck() {
        return BottleneckConfig.doubleSeqBn().toBuilder()
                .reductionFactor(ReductionFactor.of(4))
                .build();
    }

    private static BottleneckConfig withHead() {
        return bottleneck().toBuilder().modulesToSave(List.of("classifier")).build();
    }

    private static LoraConfig lora(String... targets) {
        return LoraConfig.builder().r(2).targets(targets).build();
    }

    @BeforeAll
    static void open() throws IOException {
        bert = BaseModel.open(Fixtures.TINY_BERT);
        try (ComposedAdapters files = new ComposedAdapters(Fixtures.TINY_BERT, directory, "SEQ_CLS")) {
            files.write("a", bottleneck(), 1);
            files.write("b", bottleneck(), 2);
            files.write("c", bottleneck(), 3);
            files.write("zero", bottleneck(), 4, "adapter_up");
            files.write("lang", withHead(), 5);
            files.write("task", withHead(), 6);
            files.write("lora", lora("query", "value"), 7);
            files.write("lora2", lora("query", "value"), 8);
            files.write("wide", lora("intermediate.dense"), 9);
            files.write("prefix", PrefixConfig.of(2), 10);
            files.write("prefix2", PrefixConfig.of(3), 11);
            files.write("prompt", PromptConfig.of(2), 12);
            files.write(
                    "biases",
                    LoraConfig.builder().r(2).bias(Bias.ALL).targets("query").build(),
                    13);
            files.write("ia3", Ia3Config.defaults(), 14);
        }
        try (ComposedAdapters files = new ComposedAdapters(Fixtures.TINY_BERT, directory, "SEQ_CLS")) {
            files.write(
                    "mix",
                    FusionConfig.builder()
                            .adapters(new TreeMap<>(Map.of("a", directory.resolve("a"), "b", directory.resolve("b"))))
                            .build(),
                    15);
            files.write(
                    "same",
                    FusionConfig.withoutValue().toBuilder()
                            .adapters(Map.of("a", directory.resolve("a")))
                            .build(),
                    16);
        }
        for (String name : List.of(
                "a", "b", "c", "zero", "lang", "task", "lora", "lora2", "wide", "prefix", "prefix2", "prompt", "biases",
                "ia3", "mix", "same")) {
            PARTS.put(name, bert.load(name, directory.resolve(name)));
        }
    }

    @AfterAll
    static void close() {
        bert.close();
    }

    private static List<List<Float>> logits(List<LoadedAdapter> adapterOf, List<String> texts) {
        return TextClassifier.predict(texts, adapterOf).stream()
                .map(TextClassifier.Prediction::logits)
                .toList();
    }

    private static List<List<Float>> logits(LoadedAdapter adapter) {
        return TextClassifier.of(adapter).predict(TEXTS).stream()
                .map(TextClassifier.Prediction::logits)
                .toList();
    }

    /** What a composition says of the texts. */
    private static List<List<Float>> logits(String composition, String... headOf) {
        try (LoadedAdapter made = bert.compose("it", Composition.parse(composition), PARTS, headOf)) {
            return logits(made);
        }
    }

    private static void same(List<List<Float>> is, List<List<Float>> expected) {
        assertThat(is).hasSameSizeAs(expected);
        for (int i = 0; i < is.size(); i++) {
            for (int j = 0; j < is.get(i).size(); j++) {
                assertThat(is.get(i).get(j))
                        .as("text %s, logit %s", i, j)
                        .isCloseTo(expected.get(i).get(j), within(1e-4f));
            }
        }
    }

    private static void differ(List<List<Float>> is, List<List<Float>> other) {
        assertThat(Math.abs(is.get(0).get(0) - other.get(0).get(0))).isGreaterThan(1e-3f);
    }

    // The same rows.

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "Average(a, a)                    | a",
                "Average(lora, lora)              | lora",
                "Average(wide, wide; 1, 3)        | wide",
                "Stack(a)                         | a",
                "Stack(prompt)                    | prompt",
                "Stack(a, zero)                   | a",
                "Stack(zero, a)                   | a",
                "Stack(a, Average(b, b))          | Stack(a, b)",
                "Stack(Average(a, a), b)          | Stack(a, b)",
                "Average(a, b; 2, 6)              | Average(a, b; 0.25, 0.75)",
                "Average(Stack(a, b), Stack(a, b)) | Stack(a, b)",
                "Average(a, lora)                 | Average(lora, a)",
                "Stack(a, lora)                   | Stack(lora, a)",
                "Stack(prefix, prefix2)           | Stack(prefix2, prefix)",
                "Stack(a, prefix)                 | Stack(prefix, a)",
            })
    void whatIsTheSameGivesTheSame(String one, String other) {
        same(logits(one), logits(other));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "Stack(a, b)       | a",
                "Stack(a, b)       | b",
                "Stack(a, b)       | Stack(b, a)",
                "Average(a, b)     | a",
                "Average(a, b)     | Average(a, b; 0.9, 0.1)",
                "Stack(lora, lora2) | Average(lora, lora2)",
                "Stack(lora, lora2) | lora2",
                "Stack(prefix, prefix2) | prefix2",
                "Stack(lora, a)    | a",
                "Stack(ia3, a)     | a",
                "Stack(a, Average(b, c)) | Stack(a, b)",
            })
    void whatDiffersGivesAnother(String one, String other) {
        differ(logits(one), logits(other));
    }

    /** Sequence after sequence as the context has several adapters: the seam's own order. */
    @Test
    void aStackIsWhatSeveralAdaptersOfOneCallAre() {
        LoadedTask<?> task = PARTS.get("b").loaded();
        try (LoadedAdapter stack = bert.compose("it", Composition.stack("a", "b"), PARTS);
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(
                        Packing.of(5),
                        PARTS.get("a").loaded().adapter(),
                        PARTS.get("b").loaded().adapter());
                ForwardContext made =
                        ForwardContext.inference(Packing.of(5), stack.loaded().adapter())) {
            Tokens ids = Tokens.of(5, 6, 7, 8, 9);
            assertThat(Tensors.toFloats(task.model().outputs(ids, made)))
                    .isEqualTo(Tensors.toFloats(task.model().outputs(ids, context)));
        }
    }

    /** Two prefixes are one with the rows of both. */
    @Test
    void aFusionOfTheSameAdaptersIsThatFusion() {
        same(logits("Fuse(a, b)"), logits(PARTS.get("mix")));
        same(logits("Fuse(a)"), logits(PARTS.get("a")));
    }

    @Test
    void aFusionTakesOthersOfTheSameNames() {
        Map<String, LoadedAdapter> others = new HashMap<>(PARTS);
        others.put("b", PARTS.get("c"));
        try (LoadedAdapter fused = bert.compose("it", Composition.parse("Fuse(a, b)"), others)) {
            differ(logits(fused), logits(PARTS.get("mix")));
        }
        try (LoadedAdapter stacked = bert.compose("it", Composition.parse("Stack(zero, Fuse(a, b))"), PARTS)) {
            same(logits(stacked), logits(PARTS.get("mix")));
            assertThat(stacked.notes()).anyMatch(note -> note.contains("are those of 'mix'"));
        }
        others.put("b", PARTS.get("lora"));
        assertThatThrownBy(() -> bert.compose("it", Composition.parse("Fuse(a, b)"), others))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("where the fusion 'mix' mixes nothing");
        others.put("mix2", PARTS.get("mix"));
        assertThatThrownBy(() -> bert.compose("it", Composition.parse("Fuse(a, b)"), others))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("[mix, mix2] are fusions of [a, b]");
        assertThat(bert.partsOf(Composition.parse("Stack(zero, Fuse(a, b))"), PARTS))
                .containsExactly("zero", "a", "b", "mix");
    }

    @Test
    void prefixesStandSideBySide() throws IOException {
        try (ComposedAdapters files = new ComposedAdapters(Fixtures.TINY_BERT, directory, "SEQ_CLS")) {
            Path joined = files.join("joined", directory.resolve("prefix"), directory.resolve("prefix2"));
            try (LoadedAdapter both = bert.load("joined", joined)) {
                same(logits("Stack(prefix, prefix2)"), logits(both));
            }
        }
    }

    @Test
    void aSplitGivesEachRangeItsAdapter() {
        String text = "list number you";
        int tokens = PARTS.get("a").loaded().tokenizer().encode(text).length;
        assertThat(tokens).isGreaterThan(4);
        String sizes = "; 2, " + (tokens - 2) + ")";
        try (LoadedAdapter twice = bert.compose("twice", Composition.parse("Split(a, a" + sizes), PARTS);
                LoadedAdapter split = bert.compose("split", Composition.parse("Split(a, b" + sizes), PARTS);
                LoadedAdapter nested = bert.compose(
                        "nested",
                        Composition.parse("Split(a, Split(a, b; 1, " + (tokens - 2) + "); 1, " + (tokens - 1) + ")"),
                        PARTS);
                LoadedAdapter stacks = bert.compose(
                        "stacks",
                        Composition.parse("Stack(c, Split(Stack(a, b), Average(c, a)" + sizes + ")"),
                        PARTS)) {
            List<String> one = List.of(text, text);
            same(logits(List.of(twice, PARTS.get("a")), one), logits(List.of(PARTS.get("a"), twice), one));
            same(logits(List.of(split, split), one), logits(List.of(nested, nested), one));
            differ(logits(List.of(split, split), one), logits(List.of(PARTS.get("a"), twice), one));
            assertThat(logits(List.of(stacks, split), one).get(0)).hasSize(2);
            assertThatThrownBy(() -> logits(List.of(split, split), List.of(text, text + " you")))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll(
                            "text 2 of 2 has " + (tokens + 1) + " tokens", "'split' splits texts of " + tokens);
            assertThatThrownBy(() -> split.evaluate(Stream.of(Map.of("text", "you", "label", "ham")), 4))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("row 1 of the stream has", "'split' splits texts of " + tokens);
        }
    }

    @Test
    void taskHeadAndLabelsAreThoseOfTheLast() throws IOException {
        LoadedAdapter named = bert.load(
                "named",
                directory.resolve("task"),
                LoadedAdapter.Options.defaults().withLabels(List.of("x", "y")));
        try (named) {
            Map<String, LoadedAdapter> parts =
                    Map.of("lang", PARTS.get("lang"), "task", named, "zero", PARTS.get("zero"));
            LoadedAdapter stack = bert.compose("madx", Composition.stack("lang", "task"), parts);
            assertThat(stack.labels()).containsExactly("x", "y");
            assertThat(stack.notes())
                    .containsExactly(
                            "composition Stack(lang, task): task, labels and head are those of 'task'; what 'lang' learned"
                                    + " for the head is left out");
            assertThat(bert.compose("z", Composition.stack("zero", "task"), parts)
                            .notes())
                    .containsExactly("composition Stack(zero, task): task, labels and head are those of 'task'");
            same(logits(bert.compose("z", Composition.stack("zero", "task"), parts)), logits(named));
            LoadedAdapter turned = bert.compose("turned", Composition.stack("lang", "task"), parts, "lang");
            assertThat(turned.labels()).containsExactly("ham", "spam");
            differ(logits(turned), logits(stack));
            assertThatThrownBy(() -> bert.compose("m", Composition.average("lang", "task"), parts))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll(
                            "Average(lang, task)", "'lang' and 'task' have tasks or heads that differ");
            assertThat(bert.compose("m", Composition.average("lang", "task"), parts, "lang")
                            .labels())
                    .containsExactly("ham", "spam");
            assertThatThrownBy(() -> bert.compose("m", Composition.average("lang", "task"), parts, "lang", "task"))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("has one head, asked for are those of [lang, task]");
            assertThatThrownBy(() -> bert.compose("m", Composition.average("lang", "task"), parts, "tsk"))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("has no 'tsk'", "did you mean 'task'?");
        }
    }

    /** A tiny BERT has 64 positions, of which the prefixes take 5. */
    @Test
    void prefixesTogetherLeaveTextsLessRoom() throws IOException {
        try (LoadedAdapter said = bert.load(
                "said",
                directory.resolve("prefix2"),
                LoadedAdapter.Options.defaults().withMaxLength(61))) {
            LoadedAdapter both = bert.compose("both", Composition.stack("prefix", "prefix2"), PARTS);
            assertThat(PARTS.get("prefix2").maxLength()).isEqualTo(61);
            assertThat(both.maxLength()).isEqualTo(59);
            assertThat(TextClassifier.of(both).predict("you ".repeat(80)).cut()).isTrue();
            assertThatThrownBy(() -> bert.compose(
                            "both",
                            Composition.stack("prefix", "said"),
                            Map.of("prefix", PARTS.get("prefix"), "said", said)))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("'both' takes 5 of the model's 64 positions", "at most 59, got 61");
        }
    }

    @Test
    void aCompositionIsAPartOfAnotherAsItsTreeWouldBe() {
        try (LoadedAdapter mean = bert.compose("mean", Composition.average("b", "c"), PARTS);
                LoadedAdapter split = bert.compose("split", Composition.parse("Split(a, b; 2, 2)"), PARTS)) {
            Map<String, LoadedAdapter> parts = new HashMap<>(PARTS);
            parts.put("mean", mean);
            parts.put("split", split);
            same(logits(bert.compose("x", Composition.stack("a", "mean"), parts)), logits("Stack(a, Average(b, c))"));
            assertThatThrownBy(() -> bert.compose("x", Composition.parse("Split(c, split; 2, 3)"), parts))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("its Splits are for texts of [5, 4] tokens");
        }
    }

    /** Sums are taken in float32. */
    @Test
    void itWorksInBfloat16() throws IOException {
        try (BaseModel half = BaseModel.open(
                ModelConfig.of(Fixtures.TINY_BERT).withDtype(Dtype.BFLOAT16).withDevice("cpu"))) {
            Map<String, LoadedAdapter> parts = new HashMap<>();
            for (String name : List.of("a", "b", "lora", "lora2", "prefix", "prefix2")) {
                parts.put(name, half.load(name, directory.resolve(name)));
            }
            for (String pair : List.of(
                    "Average(a, a) = a",
                    "Stack(a, Average(b, b)) = Stack(a, b)",
                    "Average(lora, lora2) = Average(lora2, lora)",
                    "Stack(prefix, prefix2) = Stack(prefix2, prefix)")) {
                String[] both = pair.split(" = ", -1);
                List<List<Float>> one = logits(half.compose("one", Composition.parse(both[0]), parts));
                List<List<Float>> other = logits(half.compose("other", Composition.parse(both[1]), parts));
                for (int i = 0; i < one.size(); i++) {
                    assertThat(one.get(i).get(0))
                            .as(pair)
                            .isCloseTo(other.get(i).get(0), within(0.1f));
                }
            }
            assertThat(logits(half.compose("s", Composition.stack("lora", "lora2"), parts)))
                    .hasSize(4);
        }
    }

    /** Vectors of texts are means over the rows of whole texts: each token's range counts there. */
    @Test
    void embeddersAreComposedToo() throws IOException {
        Path root = directory.resolve("embedders");
        try (ComposedAdapters files = new ComposedAdapters(Fixtures.TINY_BERT, root, "FEATURE_EXTRACTION")) {
            LoadedAdapter.Options embedding = LoadedAdapter.Options.defaults().withTask("embedding");
            Map<String, LoadedAdapter> parts = Map.of(
                    "a", bert.load("a", files.write("a", bottleneck(), 1), embedding),
                    "b", bert.load("b", files.write("b", bottleneck(), 2), embedding));
            float[] a = TextEmbedder.of(parts.get("a")).embed("list number you");
            float[] mean = TextEmbedder.of(bert.compose("m", Composition.average("a", "a"), parts))
                    .embed("list number you");
            assertThat(mean).containsExactly(a, within(1e-5f));
            int tokens = parts.get("a").loaded().tokenizer().encode("list number you").length;
            Composition split = Composition.split(List.of(2, tokens - 2), "a", "b");
            float[] ranges = TextEmbedder.of(bert.compose("s", split, parts)).embed("list number you");
            float[] nested = TextEmbedder.of(bert.compose(
                            "n",
                            Composition.split(
                                    List.of(1, tokens - 1),
                                    Composition.of("a"),
                                    Composition.split(List.of(1, tokens - 2), "a", "b")),
                            parts))
                    .embed("list number you");
            assertThat(ranges).containsExactly(nested, within(1e-5f));
            assertThat(Fixtures.maxDifference(ranges, a)).isGreaterThan(1e-3);
        }
    }

    // Rows of a call.

    private static List<Map<String, Object>> rows() {
        return TEXTS.stream().map(text -> Map.<String, Object>of("text", text)).toList();
    }

    @SuppressWarnings("unchecked") // what the task writes
    private static List<List<Float>> logitsOf(List<Map<String, Object>> answers) {
        return answers.stream()
                .map(columns -> (List<Float>) columns.get("logits"))
                .toList();
    }

    @Test
    void branchesOfAParallelAreSingleRuns() {
        try (RowComposition all =
                bert.composeRows("all", Composition.parse("Parallel(lang, task, prompt, Stack(a, b))"), PARTS)) {
            assertThat(all.branches()).containsExactly("lang", "task", "prompt", "Stack(a, b)");
            assertThat(all.rows()).isZero();
            List<List<Map<String, Object>>> answers = all.answer(rows());
            assertThat(answers).hasSize(4);
            same(logitsOf(answers.get(0)), logits(PARTS.get("lang")));
            same(logitsOf(answers.get(1)), logits(PARTS.get("task")));
            same(logitsOf(answers.get(2)), logits(PARTS.get("prompt")));
            same(logitsOf(answers.get(3)), logits("Stack(a, b)"));
        }
    }

    @Test
    void rangesOfABatchSplitAreSeparateRuns() {
        try (RowComposition split =
                bert.composeRows("split", Composition.parse("BatchSplit(lang, Stack(a, b), task; 1, 2, 1)"), PARTS)) {
            assertThat(split.rows()).isEqualTo(4);
            List<List<Float>> stack = logits("Stack(a, b)");
            List<List<Float>> expected = List.of(
                    logits(PARTS.get("lang")).get(0),
                    stack.get(1),
                    stack.get(2),
                    logits(PARTS.get("task")).get(3));
            same(logitsOf(split.answer(rows()).get(0)), expected);
            same(logits(split.adapters(0, 4), TEXTS), expected);
            assertThatThrownBy(() -> split.answer(rows().subList(0, 3)))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("is for 4 rows", "got 3");
        }
    }

    @Test
    void rowsAreSharedWithinAndAroundOtherBlocks() {
        try (RowComposition nested = bert.composeRows(
                        "nested",
                        Composition.parse("Stack(a, BatchSplit(b, BatchSplit(c, Average(b, c); 1, 1); 2, 2))"),
                        PARTS);
                RowComposition parallel =
                        bert.composeRows("parallel", Composition.parse("Stack(a, Parallel(b, Stack(b, c)))"), PARTS)) {
            List<List<Float>> first = logits("Stack(a, b)");
            same(
                    logitsOf(nested.answer(rows()).get(0)),
                    List.of(
                            first.get(0),
                            first.get(1),
                            logits("Stack(a, c)").get(2),
                            logits("Stack(a, Average(b, c))").get(3)));
            assertThat(parallel.branches()).containsExactly("Stack(a, b)", "Stack(a, b, c)");
            same(logitsOf(parallel.answer(rows()).get(0)), first);
            same(logitsOf(parallel.answer(rows()).get(1)), logits("Stack(a, b, c)"));
        }
    }

    // What cannot be.

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "Stack(a, nobody)      | no adapter is given for 'nobody'",
                "Fuse(b, a)            | no fusion of [b, a] is given, there are those of [[a, b], [a]]",
                "Stack(a, Fuse(b, c))  | composition Fuse(b, c): no fusion of [b, c] is given",
                "Fuse(a, Stack(b, c))  | a fusion is trained over single adapters, got Stack(b, c)",
                "Stack(prompt, a)      | 'prompt' acts on bert.embeddings (sequence",
                "Average(a, prompt)    | cannot be a part of a composition; what works",
                "Stack(biases, a)      | 'biases' has a tensor of its own in place of the model's bert.",
                "Average(prefix, prefix2) | 'prefix' has a prefix, of which there is no mean",
                "Average(ia3, a)       | 'ia3' scales or turns bert.encoder",
                "Stack(ia3, lora)      | 'ia3', 'lora' both act on bert.encoder.layer.0.attention.self.value",
                "Stack(wide, wide)     | 'wide', 'wide' add low-rank updates to bert.encoder.layer.0.intermediate.dense",
                "Split(a, lora; 2, 2)  | 'lora' acts on linear layers",
                "Split(a, prefix; 2, 2) | 'prefix' acts on linear layers, tables or keys and values",
                "Split(a, Split(b, c; 1, 1); 2, 3) | composition Split(b, c; 1, 1): its sizes must sum to 3",
                "Stack(Split(a, b; 1, 1), Split(a, b; 1, 2)) | its Splits are for texts of [2, 3] tokens",
                "BatchSplit(a, b; 1, 1) | give it to BaseModel.composeRows",
            })
    void whatCannotActTogetherIsRefusedByName(String composition, String message) {
        assertThatThrownBy(() -> bert.compose("it", Composition.parse(composition), PARTS))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message.strip());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "BatchSplit(a, BatchSplit(b, c; 1, 1); 1, 3) | its sizes must sum to 3, the rows that it has, got 2",
                "Stack(BatchSplit(a, b; 1, 1), BatchSplit(a, b; 2, 1)) | its sizes must sum to 3",
                "Stack(Parallel(a, b), Parallel(a, b, c)) | must have as many branches each, got 2 and 3",
                "Parallel(a, nobody)                     | no adapter is given for 'nobody'",
                "Parallel(a, Stack(prompt, b))           | 'prompt' acts on bert.embeddings",
            })
    void whatCannotShareRowsIsRefusedByName(String composition, String message) {
        assertThatThrownBy(() -> bert.composeRows("it", Composition.parse(composition), PARTS))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message.strip());
    }

    @Test
    void adaptersOfAnotherModelAndTheModelItselfAreRefused() throws IOException {
        try (BaseModel other = BaseModel.open(Fixtures.TINY_BERT);
                LoadedAdapter foreign = other.load("a", directory.resolve("a"));
                LoadedAdapter plain = bert.plain(LoadedAdapter.Options.defaults())) {
            assertThatThrownBy(() ->
                            bert.compose("it", Composition.stack("a", "b"), Map.of("a", foreign, "b", PARTS.get("b"))))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContainingAll("'a' of composition Stack(a, b)", "loaded on another model");
            Map<String, LoadedAdapter> parts = Map.of("model", plain, "a", PARTS.get("a"));
            assertThatThrownBy(() -> bert.compose("it", Composition.stack("model", "a"), parts))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("'model' is the model itself");
            try (RowComposition both = bert.composeRows("it", Composition.parallel("model", "a"), parts)) {
                same(logitsOf(both.answer(rows()).get(0)), logits(plain));
            }
        }
    }

    // Lifetime.

    @Test
    void itEndsWithAnyOfItsPartsAndClosesNone() throws IOException {
        LoadedAdapter a = bert.load("a", directory.resolve("a"));
        LoadedAdapter b = bert.load("b", directory.resolve("b"));
        LoadedAdapter stack = bert.compose("pair", Composition.stack("a", "b"), Map.of("a", a, "b", b));
        LoadedAdapter outer =
                bert.compose("outer", Composition.average("pair", "c"), Map.of("pair", stack, "c", PARTS.get("c")));
        same(logits(outer), logits("Average(Stack(a, b), c)"));
        stack.close();
        stack.close();
        assertThat(logits(a)).hasSize(4);
        assertThatThrownBy(() -> logits(stack))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("composition 'pair' is closed");
        assertThatThrownBy(() -> logits(outer))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("composition 'pair' is closed, and composition 'outer' is made of it");

        LoadedAdapter again = bert.compose("again", Composition.stack("a", "b"), Map.of("a", a, "b", b));
        RowComposition rows = bert.composeRows("rows", Composition.parallel("a", "b"), Map.of("a", a, "b", b));
        a.close();
        assertThatThrownBy(() -> logits(again))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("adapter 'a' is closed, and composition 'again' is made of it");
        assertThatThrownBy(() -> rows.answer(rows())).isInstanceOf(IllegalStateException.class);
        assertThatThrownBy(() -> bert.compose("x", Composition.stack("a", "b"), Map.of("a", a, "b", b)))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("adapter 'a' is closed");
        again.close();
        rows.close();

        RowComposition names = bert.composeRows("names", Composition.parallel("b", "c"), PARTS);
        names.close();
        names.close();
        assertThatThrownBy(() -> names.answer(rows()))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("composition 'names' is closed");
        assertThat(logits(b)).hasSize(4);
        b.close();
    }

    @Test
    void nothingIsLeftOfCompositionsAndRefusedOnes() {
        Runnable all = () -> {
            logits("Stack(a, Average(b, c))");
            logits("Stack(lora, lora2)");
            logits("Stack(prefix, prefix2)");
            try (LoadedAdapter split = bert.compose("s", Composition.parse("Split(a, b; 2, 3)"), PARTS)) {
                assertThatThrownBy(() -> logits(split)).isInstanceOf(ConfigException.class);
            }
            assertThatThrownBy(() -> logits("Stack(a, prompt)")).isInstanceOf(ConfigException.class);
        };
        all.run();
        long before = Ops.liveBytes();
        for (int i = 0; i < 3; i++) {
            all.run();
        }
        assertThat(Ops.liveBytes()).isEqualTo(before);
    }

    @Test
    void threadsComposeAndAnswerAtOnce() throws Exception {
        List<List<Float>> stack = logits("Stack(a, Average(b, c))");
        List<List<Float>> loras = logits("Stack(lora, lora2)");
        ExecutorService threads = Executors.newFixedThreadPool(4);
        try {
            List<Callable<Void>> calls = new ArrayList<>();
            for (int t = 0; t < 4; t++) {
                calls.add(() -> {
                    for (int i = 0; i < 5; i++) {
                        same(logits("Stack(a, Average(b, c))"), stack);
                        same(logits("Stack(lora, lora2)"), loras);
                    }
                    return null;
                });
            }
            for (Future<Void> call : threads.invokeAll(calls)) {
                call.get();
            }
        } finally {
            threads.shutdownNow();
        }
    }

    @Test
    void theModelClosesWhatIsMadeOnIt() throws IOException {
        BaseModel own = BaseModel.open(Fixtures.TINY_BERT);
        LoadedAdapter a = own.load("a", directory.resolve("a"));
        LoadedAdapter stack = own.compose("stack", Composition.stack("a", "a"), Map.of("a", a));
        assertThat(logits(stack)).hasSize(4);
        own.close();
        assertThatThrownBy(() -> logits(stack)).isInstanceOf(IllegalStateException.class);
        assertThatThrownBy(() -> own.compose("x", Composition.of("a"), Map.of("a", a)))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("this model is closed");
        stack.close();
        a.close();
    }

    // A model that goes on with texts.

    @Test
    void aCompositionGoesOnWithTextsByItsCacheAsWithout() throws IOException {
        Map<String, MethodConfig> methods = Map.of(
                "a", bottleneck(),
                "b", bottleneck(),
                "lora", lora("q_proj", "v_proj", "o_proj"),
                "lora2", lora("o_proj"),
                "prefix", PrefixConfig.of(2));
        Path root = directory.resolve("llama");
        try (ComposedAdapters files = new ComposedAdapters(Fixtures.TINY_LLAMA, root, "CAUSAL_LM");
                BaseModel llama = BaseModel.open(Fixtures.TINY_LLAMA)) {
            Map<String, LoadedAdapter> parts = new HashMap<>();
            for (Map.Entry<String, MethodConfig> method : methods.entrySet()) {
                parts.put(
                        method.getKey(),
                        llama.load(
                                method.getKey(),
                                files.write(
                                        method.getKey(),
                                        method.getValue(),
                                        method.getKey().hashCode())));
            }
            List<List<Integer>> said = new ArrayList<>();
            for (String text : List.of(
                    "Average(a, a)",
                    "a",
                    "Stack(a, b)",
                    "Stack(prefix, a, Average(b, lora))",
                    "Stack(lora, lora2)",
                    "Average(a, b, lora; 1, 2, 3)")) {
                LoadedAdapter made = llama.compose(text, Composition.parse(text), parts);
                said.add(greedy(made, "you and"));
            }
            assertThat(said.get(0)).isEqualTo(said.get(1));
            assertThat(said.get(2)).isNotEqualTo(said.get(1));
            LoadedAdapter split = llama.compose("split", Composition.parse("Split(a, b; 2, 2)"), parts);
            assertThatThrownBy(() -> TextGenerator.of(split).generate("you and"))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining(
                            "'split' splits texts of 4 tokens into ranges, so it cannot go on with a text");
            try (RowComposition both =
                    llama.composeRows("both", Composition.parse("Parallel(a, Stack(a, b))"), parts)) {
                assertThat(TextGenerator.generate(
                                        List.of("you and", "you and"),
                                        List.of(
                                                both.adapters(0).get(0),
                                                both.adapters(1).get(0)),
                                        options(),
                                        (prompt, piece) -> {})
                                .stream()
                                .map(TextGenerator.Continuation::ids)
                                .toList())
                        .containsExactly(said.get(1), said.get(2));
            }
        }
    }

    private static TextGenerator.Options options() {
        return TextGenerator.Options.defaults().withMaxNewTokens(6);
    }

    /** What is generated; each token of it is the likeliest behind the ones before, all of which are computed anew. */
    private static List<Integer> greedy(LoadedAdapter adapter, String prompt) {
        List<Integer> ids = TextGenerator.of(adapter)
                .generate(List.of(prompt), options())
                .get(0)
                .ids();
        int[] begin = adapter.loaded().tokenizer().encode(prompt);
        for (int n = 0; n < ids.size(); n++) {
            int[] whole = java.util.Arrays.copyOf(begin, begin.length + n);
            for (int i = 0; i < n; i++) {
                whole[begin.length + i] = ids.get(i);
            }
            try (PointerScope scope = new PointerScope();
                    ForwardContext context = ForwardContext.inference(
                            Packing.of(whole.length), adapter.loaded().adapter())) {
                float[] rows = Tensors.toFloats(adapter.loaded().model().outputs(Tokens.of(whole), context));
                int vocabulary = 200;
                int last = rows.length - vocabulary;
                int best = 0;
                for (int v = 1; v < vocabulary; v++) {
                    best = rows[last + v] > rows[last + best] ? v : best;
                }
                assertThat(ids.get(n)).as("token %s", n).isEqualTo(best);
            }
        }
        return ids;
    }
}
