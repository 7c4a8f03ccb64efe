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
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;
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
}
