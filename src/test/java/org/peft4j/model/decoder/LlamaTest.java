package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;

/** The tiny Llamas of build-scripts/fixtures/tiny_llama.py and what transformers and PEFT compute with them. */
class LlamaTest {
    private static final Map<String, TensorData> EXPECTED =
            Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors"));
    private static final Fixtures.Sentences TEXTS = Fixtures.sentences(EXPECTED);
    private static final ModelOptions OPTIONS = new ModelOptions(false, false, 0);

    private static HeadedModel open(Path directory, HeadKind kind) throws Exception {
        return HeadedModel.open(ModelDirectory.open(directory), OPTIONS, kind, HeadOptions.of(0));
    }

    private static float[] outputs(HeadedModel model, Adapter... adapters) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(TEXTS.packing(), adapters)) {
            return outputs(model, context);
        }
    }

    /** Of the texts' own rows, without those that are inserted before them. */
    private static float[] outputs(HeadedModel model, ForwardContext context) {
        Tensor h = hidden(model, ReadRows.TEXT, context);
        return Tensors.toFloats(model.head().forward(h, ReadRows.TEXT.packing(context), context));
    }

    private static Adapter adapter(String name, HeadedModel model) throws Exception {
        AdapterFile file = AdapterFiles.read(Fixtures.TINY_LLAMA.resolve(name));
        AdapterStore.Loaded loaded = AdapterStore.read(file, name, model.points());
        assertThat(loaded.notes()).isEmpty();
        return loaded.adapter();
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "tiny-llama-half", "tiny-llama-odd"})
    void logitsEqualHuggingFaces(String name) throws Exception {
        Path directory = Fixtures.ROOT.resolve(name);
        try (HeadedModel model = open(directory, HeadKind.LANGUAGE)) {
            assertThat(model.points().fresh()).isEmpty();
            assertThat(model.model().notes()).isEmpty();
            assertThat(model.points().architecture()).isEqualTo("LlamaForCausalLM");
            float[] expected = Fixtures.read(directory.resolve("expected.safetensors"))
                    .get("logits")
                    .toFloats();
            assertThat(maxDifference(outputs(model), expected)).isLessThan(1e-4);
        }
    }

    @Test
    void hiddenStatesEqualHuggingFaces() throws Exception {
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.NONE)) {
            float[] expected = EXPECTED.get("last_hidden_state").toFloats();
            assertThat(maxDifference(outputs(model), expected)).isLessThan(1e-5);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"lora", "prefix", "ia3", "prompt"})
    void logitsWithAnAdapterEqualPefts(String name) throws Exception {
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE);
                Adapter adapter = adapter(name, model)) {
            float[] expected = expected(name).get("logits").toFloats();
            assertThat(maxDifference(outputs(model, adapter), expected)).isLessThan(1e-4);
        }
    }

    /** Of tied tensors one is replaced and the other stays, as in PEFT; norms and the head are adapted like any. */
    @ParameterizedTest
    @ValueSource(strings = {"saved-head", "saved-embedding", "lora-head"})
    void tiedTensorsAreReplacedOneByOneAsInPeft(String name) throws Exception {
        Path directory = Fixtures.ROOT.resolve("tiny-llama-odd");
        float[] expected = Fixtures.read(directory.resolve(name).resolve("expected.safetensors"))
                .get("logits")
                .toFloats();
        try (HeadedModel model = open(directory, HeadKind.LANGUAGE);
                Adapter adapter = AdapterStore.read(AdapterFiles.read(directory.resolve(name)), name, model.points())
                        .adapter()) {
            assertThat(maxDifference(outputs(model, adapter), expected)).isLessThan(1e-4);
            try (PointerScope scope = new PointerScope();
                    ForwardContext context = ForwardContext.inference(
                            TEXTS.packing(), Arrays.asList(null, adapter, adapter, null, adapter))) {
                float[] mixed = outputs(model, context);
                float[] plain = outputs(model);
                for (int s = 0; s < 5; s++) {
                    int from = (int) TEXTS.packing().begin(s) * 200;
                    int to = (int) TEXTS.packing().end(s) * 200;
                    assertThat(maxDifference(
                                    Arrays.copyOfRange(mixed, from, to),
                                    Arrays.copyOfRange(s == 0 || s == 3 ? plain : expected, from, to)))
                            .isLessThan(1e-4);
                }
                Tensor h = hidden(model, ReadRows.ALL, context);
                LanguageHead head = (LanguageHead) model.head();
                long[] labels = LanguageTraining.labels(TEXTS, context);
                float[] ours = Tensors.toFloats(
                        head.losses(h, Tensors.ofLongs(labels, labels.length), context.packing(), context)
                                .neg());
                float[] all = Tensors.toFloats(
                        head.forward(h, context.packing(), context).log_softmax(1));
                for (int row = 0; row < labels.length; row++) {
                    double value = labels[row] < 0 ? 0 : all[row * 200 + (int) labels[row]];
                    assertThat((double) ours[row]).isCloseTo(value, within());
                }
            }
        }
    }

    private static Map<String, TensorData> expected(String adapter) {
        return Fixtures.read(Fixtures.TINY_LLAMA.resolve(adapter).resolve("expected.safetensors"));
    }

    @Test
    void rowsThatAreReadAreThoseOfAllRows() throws Exception {
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.NONE);
                Adapter lora = adapter("lora", model);
                Adapter prefix = adapter("prefix", model);
                Adapter prompt = adapter("prompt", model);
                PointerScope scope = new PointerScope();
                ForwardContext context =
                        ForwardContext.inference(TEXTS.packing(), Arrays.asList(prefix, prompt, lora, null, prompt))) {
            Tensor all = hidden(model, ReadRows.ALL, context);
            for (ReadRows rows : List.of(
                    ReadRows.last(1),
                    ReadRows.FIRST,
                    ReadRows.TEXT,
                    ReadRows.telling(List.of(0, 0, 3, 1, 99)),
                    ReadRows.last(List.of(1, 3, 2, 0, 5)),
                    ReadRows.last(List.of(0, 0, 0, 1, 0)))) {
                float[] expected = Tensors.toFloats(rows.select(all, context));
                assertThat(maxDifference(Tensors.toFloats(hidden(model, rows, context)), expected))
                        .isLessThan(1e-5);
            }
            // The row before a token tells it; the first one only an inserted row can tell.
            assertThat(ReadRows.telling(List.of(0, 0, 3, 1, 99)).packing(context))
                    .hasToString(Packing.of(1, 1 + 3, 1 + 4, 12, 1).toString());
        }
    }

    private static Tensor hidden(HeadedModel model, ReadRows rows, ForwardContext context) {
        return BlockRunner.plain().forward(model.model(), Tokens.of(TEXTS.tokens()), rows, context);
    }

    /** Each text with each adapter, beside texts with others. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4})
    void aRowOfABatchIsWhatItIsAlone(int turned) throws Exception {
        List<String> names = new ArrayList<>(Arrays.asList("prefix", null, "prompt", "lora", "ia3"));
        Collections.rotate(names, turned);
        List<Adapter> adapters = new ArrayList<>();
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE);
                PointerScope scope = new PointerScope()) {
            for (String name : names) {
                adapters.add(name == null ? null : adapter(name, model));
            }
            try (ForwardContext context = ForwardContext.inference(TEXTS.packing(), adapters)) {
                float[] mixed = outputs(model, context);
                for (int s = 0; s < names.size(); s++) {
                    Map<String, TensorData> alone = names.get(s) == null ? EXPECTED : expected(names.get(s));
                    int from = (int) TEXTS.packing().begin(s) * 200;
                    int to = (int) TEXTS.packing().end(s) * 200;
                    assertThat(maxDifference(
                                    Arrays.copyOfRange(mixed, from, to),
                                    Arrays.copyOfRange(alone.get("logits").toFloats(), from, to)))
                            .isLessThan(1e-4);
                }
            }
            adapters.stream().filter(Objects::nonNull).forEach(Adapter::close);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"lora", "prefix", "ia3", "prompt"})
    void gradientsEqualPefts(String name) throws Exception {
        Map<String, TensorData> expected = expected(name);
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE);
                Adapter adapter = adapter(name, model);
                RecomputedBlocks recomputed = new RecomputedBlocks()) {
            List<float[]> gradients = new ArrayList<>();
            for (BlockRunner runner : List.of(BlockRunner.plain(), recomputed)) {
                LanguageTraining.firstStepEqualsPefts(model, adapter, TEXTS, runner, expected);
                adapter.parameters()
                        .values()
                        .forEach(parameter ->
                                gradients.add(Tensors.toFloats(parameter.value().grad())));
                LanguageTraining.clearGradients(adapter);
            }
            int n = gradients.size() / 2;
            for (int i = 0; i < n; i++) {
                assertThat(gradients.get(i)).isEqualTo(gradients.get(n + i));
            }
        }
    }

    private static org.assertj.core.data.Offset<Double> within() {
        return org.assertj.core.data.Offset.offset(1e-4);
    }

    @ParameterizedTest
    @ValueSource(strings = {"lora", "prefix", "ia3", "prompt"})
    void lossesOfFiveStepsEqualPefts(String name) throws Exception {
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE);
                Adapter adapter = adapter(name, model)) {
            LanguageTraining.lossesEqualPefts(model, adapter, TEXTS, expected(name));
        }
    }

    @Test
    void probabilitiesOfTokensAreThoseOfTheLogits() throws Exception {
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE);
                Adapter adapter = adapter("lora", model);
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(TEXTS.packing(), adapter)) {
            Tensor h = hidden(model, ReadRows.ALL, context);
            LanguageHead head = (LanguageHead) model.head();
            long[] labels = LanguageTraining.labels(TEXTS, context);
            float[] ours =
                    Tensors.toFloats(head.losses(h, Tensors.ofLongs(labels, labels.length), context.packing(), context)
                            .neg());
            float[] all =
                    Tensors.toFloats(head.forward(h, context.packing(), context).log_softmax(1));
            for (int row = 0; row < labels.length; row++) {
                double expected = labels[row] < 0 ? 0 : all[row * 200 + (int) labels[row]];
                assertThat((double) ours[row]).isCloseTo(expected, within());
            }
        }
    }

    @Test
    void refusesWhatDoesNotFitTheModel() throws Exception {
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE);
                PointerScope scope = new PointerScope()) {
            ForwardContext two = ForwardContext.inference(Packing.of(2));
            assertThatThrownBy(() -> model.outputs(Tokens.of(1, 2, 3), two))
                    .hasMessageContaining("2 rows")
                    .hasMessageContaining("3 tokens");
            assertThatThrownBy(() -> model.outputs(Tokens.of(1, 200), two))
                    .hasMessageContaining("token 200 is not in the model's vocabulary of 200");
            ForwardContext empty = ForwardContext.inference(Packing.of(2, 0));
            assertThatThrownBy(() -> model.outputs(Tokens.of(1, 2), empty))
                    .hasMessageContaining("sequence 1 must have at least 1 token");
        }
    }
}
