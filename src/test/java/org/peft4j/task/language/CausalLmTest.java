package org.peft4j.task.language;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
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
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.metrics.Evaluation;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Weight;
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
                1);
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
