package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.assertj.core.data.Offset;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.io.Json;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraTargets;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.lora.LoraMethod;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Device;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.ParameterGroup;

/** What every decoder does beside language modelling in float32. */
class DecoderTasksTest {
    private static final int CLASSES = 3;
    private static final ModelOptions BFLOAT16 = new ModelOptions(true, false, 0);

    /**
     * Rows may be twice as far from float32 as transformers' own in bfloat16, plus one step of bfloat16 where that is the type
     * of the result. The farthest row of a mixture of experts is left out: rounding may choose another expert.
     */
    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
    void bfloat16IsAsNearToFloat32AsTransformersIs(String name) throws IOException {
        Map<?, ?> theirs = (Map<?, ?>)
                Json.readObject(DecoderFixtures.ROOT.resolve("bfloat16.json")).get(name);
        Map<String, TensorData> expected = DecoderFixtures.expected(name);
        Fixtures.Sentences texts = Fixtures.sentences(expected);
        float[] logits = expected.get("logits").toFloats();
        try (HeadedModel model =
                DecoderFixtures.open(DecoderFixtures.ROOT.resolve(name), HeadKind.LANGUAGE, 0, BFLOAT16)) {
            float[] ours = DecoderFixtures.outputs(model, texts, null);
            double[] rows = differences(ours, logits, texts.tokens().length);
            double rounding = 1e-5 + (BFLOAT16.compute() == ScalarType.BFloat16 ? largest(logits) / 128 : 0);
            double mean = Arrays.stream(rows).average().orElseThrow();
            assertThat(mean).isBetween(1e-3, 2 * number(theirs, "mean") + rounding);
            if (!name.contains("moe") && !name.contains("mixtral")) {
                assertThat(Arrays.stream(rows).max().orElseThrow())
                        .isLessThanOrEqualTo(2 * number(theirs, "most") + rounding);
            }
        }
    }

    private static double number(Map<?, ?> numbers, String name) {
        return ((Number) numbers.get(name)).doubleValue();
    }

    private static double largest(float[] values) {
        return maxDifference(values, new float[values.length]);
    }

    /** Of each row the most that a value differs. */
    private static double[] differences(float[] ours, float[] theirs, int rows) {
        int width = theirs.length / rows;
        return IntStream.range(0, rows)
                .mapToDouble(row -> maxDifference(
                        Arrays.copyOfRange(ours, row * width, (row + 1) * width),
                        Arrays.copyOfRange(theirs, row * width, (row + 1) * width)))
                .toArray();
    }

    /** A new head is a product with the hidden states that transformers has: those of the last row, or of all. */
    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
    void headsReadTransformersHiddenStates(String name) throws IOException {
        Map<String, TensorData> expected = DecoderFixtures.expected(name);
        Fixtures.Sentences texts = Fixtures.sentences(expected);
        float[] hidden = expected.get("last_hidden_state").toFloats();
        int width = hidden.length / texts.tokens().length;
        for (HeadKind kind : List.of(HeadKind.SEQUENCE, HeadKind.TOKENS)) {
            try (HeadedModel model = DecoderFixtures.open(name, kind, CLASSES)) {
                String head = model.points().fresh().get(0);
                float[] w = values(model, head + ".weight");
                float[] bias = values(model, head + ".bias");
                List<Float> outputs = new ArrayList<>();
                for (int row : kind == HeadKind.SEQUENCE ? lastRows(texts) : allRows(texts)) {
                    for (int c = 0; c < CLASSES; c++) {
                        double sum = bias.length == 0 ? 0 : bias[c];
                        for (int i = 0; i < width; i++) {
                            sum += (double) hidden[row * width + i] * w[c * width + i];
                        }
                        outputs.add((float) sum);
                    }
                }
                float[] ours = DecoderFixtures.outputs(model, texts, null);
                assertThat(ours).hasSize(outputs.size());
                for (int i = 0; i < ours.length; i++) {
                    assertThat(ours[i]).as(kind + ", output " + i).isCloseTo(outputs.get(i), Offset.offset(1e-4f));
                }
            }
        }
    }

    private static float[] values(HeadedModel model, String path) {
        TensorPoint point = model.points().tensors().get(path);
        return point == null ? new float[0] : Tensors.toFloats(point.value());
    }

    /** The last one that is not the padding's token, which is 0. */
    private static List<Integer> lastRows(Fixtures.Sentences texts) {
        List<Integer> rows = new ArrayList<>();
        for (int s = 0; s < texts.packing().sequences(); s++) {
            int row = (int) texts.packing().end(s) - 1;
            while (row > texts.packing().begin(s) && texts.tokens()[row] == 0) {
                row--;
            }
            rows.add(row);
        }
        return rows;
    }

    private static List<Integer> allRows(Fixtures.Sentences texts) {
        return IntStream.range(0, texts.tokens().length).boxed().toList();
    }

    /** Classes of texts and of tokens, and what an embedding of the last row is trained by. */
    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
    void everyOtherTaskIsLearned(String name) throws IOException {
        Fixtures.Sentences texts = Fixtures.sentences(DecoderFixtures.expected(name));
        for (HeadKind kind : List.of(HeadKind.SEQUENCE, HeadKind.TOKENS, HeadKind.NONE)) {
            try (HeadedModel model = DecoderFixtures.open(name, kind, CLASSES);
                    Adapter adapter = attached(model);
                    AdamW optimizer = new AdamW(List.of(new ParameterGroup(
                            "all", 1e-2, 0, List.copyOf(adapter.parameters().values()))))) {
                double first = step(model, adapter, texts, kind, optimizer);
                assertThat(step(model, adapter, texts, kind, optimizer))
                        .as(kind.toString())
                        .isFinite()
                        .isLessThan(first - 0.01);
            }
        }
    }

    /** What modules_to_save may name is trained: every tensor gets a gradient, or is refused. */
    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
    void whateverIsSavedAsAWholeIsTrained(String name) throws IOException {
        Fixtures.Sentences texts = Fixtures.sentences(DecoderFixtures.expected(name));
        try (HeadedModel model = DecoderFixtures.open(name, HeadKind.LANGUAGE, 0)) {
            Adapter.Builder builder = Adapter.builder("saved", Device.CPU);
            model.points().tensors().forEach((path, point) -> {
                if (path.contains(".experts.")) {
                    assertThatThrownBy(() -> SavedModules.copy(point, "saved"))
                            .isInstanceOf(ConfigException.class)
                            .hasMessageContaining(path + " is not offered as a whole");
                } else {
                    builder.claim(point, SavedModules.copy(point, "saved"));
                }
            });
            try (Adapter adapter = builder.build()) {
                LanguageTraining.backward(model, adapter, texts, BlockRunner.plain(), 0);
                assertThat(adapter.parameters().values())
                        .isNotEmpty()
                        .allMatch(parameter -> parameter.value().grad().defined());
            }
        }
    }

    /** LoRA of what is usual for the family, else of all linear layers; and the head, if it is new. */
    private static Adapter attached(HeadedModel model) {
        LoraConfig config = LoraConfig.builder()
                .r(2)
                .targets(LoraTargets.usual(model.points().modelType()).orElse(Targets.allLinear()))
                .modulesToSave(model.points().fresh())
                .build();
        return new LoraMethod().attach("adapter", config, model.points(), 1);
    }

    private static double step(
            HeadedModel model, Adapter adapter, Fixtures.Sentences texts, HeadKind kind, AdamW optimizer) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(texts.packing(), 1, adapter)) {
            Tensor loss = kind == HeadKind.NONE ? neighbours(model, texts, context) : classes(model, texts, context);
            BlockRunner.plain().backward(loss, context);
            optimizer.step(1, 0);
            return loss.item_double();
        }
    }

    /** The outputs in turn are what the rows should give. */
    private static Tensor classes(HeadedModel model, Fixtures.Sentences texts, ForwardContext context) {
        Tensor outputs = model.outputs(Tokens.of(texts.tokens()), context);
        int rows = (int) outputs.size(0);
        long[] right = IntStream.range(0, rows).mapToLong(row -> row % CLASSES).toArray();
        return torch.cross_entropy_loss(outputs, Tensors.ofLongs(right, rows));
    }

    /** The last rows of the texts should be alike. */
    private static Tensor neighbours(HeadedModel model, Fixtures.Sentences texts, ForwardContext context) {
        Tensor last = BlockRunner.plain().forward(model.model(), Tokens.of(texts.tokens()), ReadRows.last(1), context);
        assertThat(last.size(0)).isEqualTo(texts.packing().sequences());
        return torch.cosine_similarity(last.narrow(0, 1, 4), last.narrow(0, 0, 4))
                .mean()
                .neg();
    }
}
