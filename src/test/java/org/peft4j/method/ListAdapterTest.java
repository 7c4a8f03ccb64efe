package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Convert;
import org.peft4j.Fixtures;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.list.ListConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Init;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SublayerPoint;

/** LiST's linear adapters: their formula and their merge in double, their places, files and refusals. */
class ListAdapterTest extends WithTinyBert {
    private static final String LAYER = "bert.encoder.layer.1.output.dense";

    @TempDir
    Path directory;

    private static Adapter random(ListConfig config, HeadedModel model) {
        Adapter adapter = Methods.of(config).attach("it", config, model.points(), 2);
        for (Parameter parameter : adapter.parameters().values()) {
            try (PointerScope scope = new PointerScope()) {
                parameter.set(Tensors.toFloats(
                        parameter.value().add(Init.normal(3, parameter.path(), 0.2, parameter.shape()))));
            }
        }
        return adapter;
    }

    private static float[] values(Tensor t) {
        return Tensors.toFloats(t);
    }

    /** y + W_2 W_1 y, where y = W x + b. */
    @Test
    void itIsItsFormulaAndSoIsItsMerge() {
        ListConfig config = ListConfig.defaults().withR(4);
        try (PointerScope scope = new PointerScope();
                Adapter adapter = random(config, model);
                ForwardContext context = ForwardContext.inference(Packing.of(3), adapter)) {
            Tensor w = model.points().tensors().get(LAYER + ".weight").value();
            Tensor b = model.points().tensors().get(LAYER + ".bias").value();
            Tensor x = Init.normal(1, "x", 1, 3, 64);
            float[] down = values(
                    adapter.parameters().get(LAYER + ".adapter_down.weight").value());
            float[] up = values(
                    adapter.parameters().get(LAYER + ".adapter_up.weight").value());
            double[][] matrix = new double[32][32]; // I + W_2 W_1
            for (int i = 0; i < 32; i++) {
                for (int j = 0; j < 32; j++) {
                    matrix[i][j] = i == j ? 1 : 0;
                    for (int r = 0; r < 4; r++) {
                        matrix[i][j] += (double) up[i * 4 + r] * down[r * 32 + j];
                    }
                }
            }
            try (LinearGroup group = LinearGroup.of(new Linear(LAYER, w, b))) {
                float[] is = values(group.forwardOne(x, context.packing(), context));
                for (int t = 0; t < 3; t++) {
                    double[] y = new double[32];
                    for (int o = 0; o < 32; o++) {
                        y[o] = values(b)[o];
                        for (int i = 0; i < 64; i++) {
                            y[o] += (double) values(w)[o * 64 + i] * values(x)[t * 64 + i];
                        }
                    }
                    for (int o = 0; o < 32; o++) {
                        double expected = 0;
                        for (int j = 0; j < 32; j++) {
                            expected += matrix[o][j] * y[j];
                        }
                        assertThat((double) is[t * 32 + o]).isCloseTo(expected, within(1e-4));
                    }
                }
            }
            Map<String, Tensor> merged = Methods.of(config).merged(adapter, model.points());
            assertThat(merged).hasSize(2 * 2 * 3);
            float[] frozen = values(w);
            float[] bias = values(b);
            float[] weightNow = values(merged.get(LAYER + ".weight"));
            float[] biasNow = values(merged.get(LAYER + ".bias"));
            for (int o = 0; o < 32; o++) {
                double expected = 0;
                for (int j = 0; j < 32; j++) {
                    expected += matrix[o][j] * bias[j];
                }
                assertThat((double) biasNow[o]).isCloseTo(expected, within(1e-5));
                for (int i = 0; i < 64; i++) {
                    double sum = 0;
                    for (int j = 0; j < 32; j++) {
                        sum += matrix[o][j] * frozen[j * 64 + i];
                    }
                    assertThat((double) weightNow[o * 64 + i]).isCloseTo(sum, within(1e-5));
                }
            }
        }
    }

    @Test
    void itBeginsAlmostAsTheModel() {
        try (Adapter adapter = Methods.of(ListConfig.defaults().withR(32))
                .attach("it", ListConfig.defaults().withR(32), model.points(), 2)) {
            float[] first = values(
                    adapter.parameters().get(LAYER + ".adapter_up.weight").value());
            double squares = 0;
            for (float value : first) {
                squares += value * value / first.length;
            }
            assertThat(Math.sqrt(squares)).isBetween(0.00018, 0.00022);
            assertThat(maxDifference(logits(model, adapter), logits(model))).isBetween(1e-9, 1e-4);
        }
    }

    /** What it adds to a weight has its rank; the changed biases go along. */
    @Test
    void itIsPlainLoraOfItsRank() throws Exception {
        ListConfig config = ListConfig.defaults().withR(3);
        Path files = directory.resolve("list");
        try (Adapter adapter = random(config, model)) {
            AdapterStore.write(files, adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
            Convert.Result result = Convert.toLora(Fixtures.TINY_BERT, files, directory.resolve("lora"), 0, false);
            assertThat(result.r()).isEqualTo(3);
            assertThat(result.error()).isLessThan(1e-5);
            try (Adapter lora = AdapterStore.read(directory.resolve("lora"), "lora", model.points())
                    .adapter()) {
                assertThat(maxDifference(logits(model, lora), logits(model, adapter)))
                        .isLessThan(1e-4);
            }
        }
    }

    @Test
    void itsFileHasItsSettings() throws Exception {
        ListConfig config = new ListConfig(5, 0.25, TargetLayers.of("output.dense"), List.of("classifier"));
        try (Adapter adapter = random(config, model)) {
            AdapterStore.write(directory, adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
            AdapterFile file = AdapterFiles.read(directory);
            assertThat(file.config()).containsEntry("peft_type", "LIST").containsEntry("init_std", 0.25);
            assertThat(file.tensors())
                    .containsKeys(
                            "base_model.model." + LAYER + ".adapter_down.weight",
                            "base_model.model.bert.encoder.layer.0.attention.output.dense.adapter_up.weight");
            AdapterStore.Loaded again = AdapterStore.read(directory, "again", model.points());
            try (Adapter read = again.adapter()) {
                assertThat(again.config()).isEqualTo(config);
                assertThat(again.notes()).isEmpty();
                assertThat(logits(model, read)).isEqualTo(logits(model, adapter));
            }
            Map<String, Object> keys = new java.util.LinkedHashMap<>(file.config());
            keys.put("init_std", 0);
            AdapterFiles.write(directory, keys, List.copyOf(file.tensors().values()));
            assertThatThrownBy(() -> AdapterStore.read(directory, "wrong", model.points()))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("init_std must be above 0");
        }
    }

    /** Whatever attention's and MLP's last layers are called. */
    @ParameterizedTest
    @CsvSource({
        "tiny-llama, mlp.down_proj self_attn.o_proj",
        "decoders/qwen3, mlp.down_proj self_attn.o_proj",
        "decoders/gpt2, attn.c_proj mlp.c_proj"
    })
    void itStandsBehindAttentionAndMlp(String name, String layers) throws Exception {
        try (HeadedModel decoder = HeadedModel.open(
                        ModelDirectory.open(Fixtures.ROOT.resolve(name)),
                        new ModelOptions(false, false, 0),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
                Adapter adapter = random(ListConfig.defaults().withR(2), decoder)) {
            TreeSet<String> places = adapter.parameters().keySet().stream()
                    .map(path -> path.replaceAll("^.*?\\.\\d+\\.|\\.adapter_(up|down)\\.weight$", ""))
                    .collect(Collectors.toCollection(TreeSet::new));
            assertThat(places).containsExactly(layers.split(" "));
            assertThat(adapter.parameters()).hasSize(4 * decoder.points().layers());
        }
    }

    /** As the paper trains the head of its language model, too. */
    @Test
    void theHeadOfALanguageModelIsTrainedWithIt() throws Exception {
        ListConfig config = ListConfig.defaults().withR(2).withModulesToSave(List.of("lm_head"));
        try (HeadedModel llama = HeadedModel.open(
                        ModelDirectory.open(Fixtures.TINY_LLAMA),
                        new ModelOptions(false, false, 0),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
                Adapter adapter = random(config, llama)) {
            assertThat(adapter.parameters()).containsKey("lm_head.weight");
            assertThat(adapter.elements()).isEqualTo(2 * 2 * 2 * 2 * 32 + 200 * 32);
        }
    }

    private void refuses(ListConfig config, Points points, String message) {
        assertThatThrownBy(
                        () -> Methods.of(config).attach("it", config, points, 1).close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    @Test
    void wrongSettingsAreRefused() {
        refuses(
                ListConfig.defaults(),
                model.points(),
                "r must be at most the 32 outputs of bert.encoder.layer.0.attention.output.dense, got 128");
        refuses(ListConfig.defaults().withLayers(TargetLayers.of("dens")), model.points(), "targets");
        Points without = new Points("moe", "Mixture", 8, 1, 2, List.of(), List.of(), Map.of(), List.of())
                .and(List.of(new SublayerPoint("block.0.mlp.experts", 0, SublayerPoint.Kind.MLP, 8, false)));
        refuses(
                ListConfig.defaults(),
                without,
                "targets must be given: block.0.mlp.experts of Mixture ends in no linear layer");
        assertThatThrownBy(() -> ListConfig.defaults().withR(0)).hasMessage("r must be at least 1, got 0");
        for (double std : new double[] {0, -1, Double.NaN, Double.POSITIVE_INFINITY}) {
            assertThatThrownBy(() -> ListConfig.defaults().withInitStd(std))
                    .hasMessageStartingWith("initStd must be above 0");
        }
    }
}
