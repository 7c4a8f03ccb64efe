package org.peft4j.task.language;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.data.Offset.offset;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.data.chat.ChatFormat;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.metrics.Evaluation;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.InsertedRows;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.RowTasks;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.ops.Weight;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.ParameterGroup;
import org.peft4j.task.Batch;
import org.peft4j.task.Evaluator;

/** Which tokens count, as in Hugging Face PEFT: the loss of tiny-llama's texts with its adapters. */
class CausalLmTest {
    private static final CausalLm TASK = task();
    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));

    private static CausalLm task() {
        try {
            return new CausalLm(
                    CausalLmConfig.defaults(), ChatFormat.open(Fixtures.TINY_LLAMA, null, null, Map.of()), null);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static boolean[] counts(int tokens, int first) {
        boolean[] counts = new boolean[tokens];
        Arrays.fill(counts, Math.min(tokens, first), tokens, true);
        return counts;
    }

    /** @param first token that counts, if something can tell it */
    private static Batch<LanguageExample> batch(int first, boolean packed) {
        List<LanguageExample> examples = new ArrayList<>();
        for (int s = 0; s < TEXTS.lengths().length; s++) {
            examples.add(LanguageExample.of(
                    new Tokens(TEXTS.only(s).tokens(), null, false),
                    counts(TEXTS.only(s).tokens().length, first),
                    s + 1));
        }
        return Batch.of(packed ? List.of(joined(examples)) : examples, i -> "text " + i);
    }

    private static LanguageExample joined(List<LanguageExample> examples) {
        return new LanguageExample(
                examples.stream()
                        .flatMap(example -> example.sequences().stream())
                        .toList(),
                examples.stream().map(example -> example.counts().get(0)).toList(),
                Collections.nCopies(examples.size(), RowTasks.NONE),
                Collections.nCopies(examples.size(), 1L));
    }

    /** A prompt's last row tells the first token; keys and values of a prefix tell nothing. */
    @ParameterizedTest
    @CsvSource({"lora, 38", "prefix, 38", "ia3, 38", "prompt, 43"})
    void theLossIsPefts(String name, int counted) throws Exception {
        Map<String, TensorData> expected =
                Fixtures.read(Fixtures.TINY_LLAMA.resolve(name).resolve("expected.safetensors"));
        double loss = expected.get("losses").toFloats()[0];
        try (HeadedModel model = HeadedModel.open(
                        ModelDirectory.open(Fixtures.TINY_LLAMA),
                        ModelOptions.defaults(),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
                Adapter adapter = AdapterStore.read(Fixtures.TINY_LLAMA.resolve(name), name, model.points())
                        .adapter()) {
            for (boolean packed : new boolean[] {false, true}) {
                try (PointerScope scope = new PointerScope()) {
                    Batch<LanguageExample> batch = batch(0, packed);
                    double weight = batch.examples().stream()
                            .mapToDouble(example -> TASK.weight(example, adapter.inserted()))
                            .sum();
                    assertThat(weight).isEqualTo(counted);
                    try (ForwardContext context = ForwardContext.inference(batch.packing(), adapter)) {
                        Tensor h = hidden(model, batch, context);
                        assertThat(TASK.loss(model.head(), h, batch, context).item_double() / weight)
                                .isCloseTo(loss, offset(1e-4));
                        Evaluator<LanguageExample> evaluator = TASK.evaluator();
                        evaluator.add(model.head(), h, batch, context);
                        Evaluation evaluation = evaluator.evaluation();
                        assertThat(evaluation.loss()).isCloseTo(loss, offset(1e-4));
                        assertThat(evaluation.counts()).containsEntry("tokens", (long) counted);
                    }
                }
            }
            try (PointerScope scope = new PointerScope()) { // scores are of the same tokens with any adapter
                Batch<LanguageExample> batch = batch(1, false);
                try (ForwardContext context = ForwardContext.inference(batch.packing(), adapter)) {
                    List<Map<String, Object>> scores =
                            TASK.outputs(model.head(), hidden(model, batch, context), batch, context);
                    for (int s = 0; s < TEXTS.lengths().length; s++) {
                        assertThat(scores.get(s)).containsEntry("tokens", TEXTS.lengths()[s] - 1);
                    }
                    assertThat(scores.get(0)).containsEntry("log_prob", 0.0);
                }
            }
        }
    }

    /** The labels of CPT's examples count, too, with their weights; the rows come back to within their distances at each step. */
    @Test
    void theLossOfCptIsPefts() throws Exception {
        Path directory = Fixtures.ROOT.resolve("prompts").resolve("cpt");
        Map<String, TensorData> expected = Fixtures.read(directory.resolve("expected.safetensors"));
        try (HeadedModel model = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                ModelOptions.defaults(),
                HeadKind.LANGUAGE,
                HeadOptions.of(0))) {
            AdapterStore.Loaded loaded = AdapterStore.read(directory, "read", model.points());
            try (Adapter read = loaded.adapter();
                    Adapter adapter = fresh((CptConfig) loaded.config(), model.points())) {
                cptIsPefts(model, read, adapter, expected);
            }
        }
    }

    private static void cptIsPefts(HeadedModel model, Adapter read, Adapter adapter, Map<String, TensorData> expected) {
        Parameter delta = adapter.parameters().get("delta_embedding.weight");
        assertThat(Fixtures.maxDifference(
                        inserted(adapter), expected.get("start").toFloats()))
                .isZero();
        delta.set(
                expected.get("parameter.prompt_encoder.delta_embedding.weight").toFloats());
        assertThat(Fixtures.maxDifference(inserted(adapter), inserted(read))).isLessThan(1e-6);
        float[] losses = expected.get("losses").toFloats();
        Batch<LanguageExample> batch = batch(0, false);
        double weight = batch.examples().stream()
                .mapToDouble(example -> TASK.weight(example, adapter.inserted())
                        + adapter.told().size() * TASK.telling(example))
                .sum();
        assertThat(weight).isEqualTo(43 + 5 * 2);
        try (AdamW optimizer = new AdamW(List.of(new ParameterGroup("all", 1e-2, 0.01, List.of(delta))))) {
            for (int step = 0; step < losses.length; step++) {
                try (PointerScope scope = new PointerScope();
                        ForwardContext context = ForwardContext.training(batch.packing(), step, adapter)) {
                    Tensor loss = TASK.loss(model.head(), hidden(model, batch, context), batch, context)
                            .div(new Scalar(weight));
                    assertThat(loss.item_double()).isCloseTo(losses[step], offset(1e-4));
                    loss.backward();
                    context.backward();
                    float[] theirs = expected.get("gradient.prompt_encoder.delta_embedding.weight")
                            .toFloats();
                    if (step == 0) {
                        assertThat(Fixtures.maxDifference(
                                        Tensors.toFloats(delta.value().grad()), theirs))
                                .isLessThan(1e-3 * Fixtures.maxDifference(theirs, new float[theirs.length]));
                    }
                }
                optimizer.step(1, 0);
            }
        }
        float[] moved = inserted(adapter);
        float[] start = expected.get("start").toFloats();
        float[] theirs = expected.get("delta").toFloats();
        for (int i = 0; i < moved.length; i++) {
            assertThat(moved[i] - start[i]).as("row %s", i / 32).isCloseTo(theirs[i], within(1e-4f));
        }
    }

    private static Adapter fresh(CptConfig config, Points points) {
        return Methods.of(config).attach("fresh", config, points, 1);
    }

    /** The rows that an adapter inserts. */
    private static float[] inserted(Adapter adapter) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(1), adapter)) {
            InsertedRows rows = (InsertedRows) adapter.claims(SequencePoint.class)
                    .values()
                    .iterator()
                    .next()
                    .get(0);
            return Tensors.toFloats(rows.rows(context));
        }
    }

    private static Tensor hidden(HeadedModel model, Batch<LanguageExample> batch, ForwardContext context) {
        ReadRows reads = TASK.reads(model.head(), batch);
        return BlockRunner.plain().forward(model.model(), batch.inputs(), reads, context);
    }

    /** Of rows that tell nothing that counts, the head computes nothing. */
    @Test
    void theHeadComputesOnlyRowsWhoseTokenCounts() throws Exception {
        boolean[] counts = {true, false, false, true, false, true, false};
        LanguageExample example =
                LanguageExample.of(new Tokens(new int[] {1, 5, 6, 7, 8, 9, 10}, null, false), counts, 1);
        try (HeadedModel model = HeadedModel.open(
                        ModelDirectory.open(Fixtures.TINY_LLAMA),
                        ModelOptions.defaults(),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
                PointerScope scope = new PointerScope()) {
            Batch<LanguageExample> batch = Batch.of(List.of(example), i -> "row");
            try (ForwardContext context = ForwardContext.inference(batch.packing())) {
                Counting head = new Counting((LanguageHead) model.head());

                List<Map<String, Object>> said = TASK.outputs(head, hidden(model, batch, context), batch, context);

                assertThat(head.labels).containsExactly(7, 9);
                assertThat(said.get(0)).containsEntry("tokens", 2);
                double expected = 0;
                for (int token : new int[] {3, 5}) {
                    boolean[] one = new boolean[7];
                    one[token] = true;
                    Batch<LanguageExample> alone = Batch.of(
                            List.of(LanguageExample.of(example.sequences().get(0), one, 1)), i -> "row");
                    expected += (double) TASK.outputs(model.head(), hidden(model, alone, context), alone, context)
                            .get(0)
                            .get("log_prob");
                }
                assertThat((double) said.get(0).get("log_prob")).isCloseTo(expected, offset(1e-5));
            }
        }
    }

    /** A head that remembers what it was asked for. */
    private static final class Counting implements LanguageHead {
        private final LanguageHead head;
        private int[] labels = {};

        Counting(LanguageHead head) {
            this.head = head;
        }

        @Override
        public Tensor losses(Tensor h, Tensor asked, Packing rows, ForwardContext context) {
            assertThat(h.size(0)).isEqualTo(asked.size(0)).isEqualTo(rows.rows());
            labels = new int[(int) asked.size(0)];
            for (int i = 0; i < labels.length; i++) {
                labels[i] = (int) asked.select(0, i).item_long();
            }
            return head.losses(h, asked, rows, context);
        }

        @Override
        public String path() {
            return head.path();
        }

        @Override
        public Weight weight() {
            return head.weight();
        }

        @Override
        public Points points() {
            return head.points();
        }

        @Override
        public ReadRows reads() {
            return head.reads();
        }

        @Override
        public Tensor forward(Tensor h, Packing rows, ForwardContext context) {
            return head.forward(h, rows, context);
        }

        @Override
        public void close() {}
    }
}
