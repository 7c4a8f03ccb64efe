package org.peft4j.model.bert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Variants;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;

/** Model directories as people have them: names of other releases and wrappers, heads of other sizes, keys that ask for more. */
class BertFilesTest {
    private final Map<String, TensorData> expected = Fixtures.read(Fixtures.TINY_BERT.resolve("expected.safetensors"));
    private final Fixtures.Sentences sentences = Fixtures.sentences(expected);

    @TempDir
    Path dir;

    private HeadedModel open(int labels, ModelOptions options) throws Exception {
        ModelDirectory directory = ModelDirectory.open(dir);
        return HeadedModel.open(directory, options, HeadKind.SEQUENCE, HeadOptions.of(labels));
    }

    private float[] logits(HeadedModel model) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing())) {
            return Tensors.toFloats(model.outputs(Tokens.of(sentences.tokens()), context));
        }
    }

    static Stream<Arguments> names() {
        UnaryOperator<String> old =
                name -> name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        UnaryOperator<String> bare = name -> name.startsWith("bert.") ? name.substring(5) : name;
        return Stream.of(
                name("gamma and beta", old),
                name("without bert.", bare),
                name("module.", name -> "module." + name),
                name("_orig_mod.", name -> "_orig_mod." + name),
                name("_orig_mod. inside", name -> name.replace("encoder.layer.1.", "encoder.layer.1._orig_mod.")),
                name("all at once", name -> "module._orig_mod." + old.apply(bare.apply(name))));
    }

    private static Arguments name(String what, UnaryOperator<String> names) {
        return Arguments.of(what, names);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("names")
    void namesOfOtherReleasesAndWrappersLoad(String what, UnaryOperator<String> names) throws Exception {
        Variants.tinyBert(dir, names, tensors -> {}, keys -> {});
        try (HeadedModel model = open(2, ModelOptions.defaults())) {
            assertThat(model.points().fresh()).isEmpty();
            assertThat(maxDifference(logits(model), expected.get("logits").toFloats()))
                    .isLessThan(1e-5);
        }
    }

    @Test
    void tensorsThatAreNotNeededMayBeOfAnyType() throws Exception {
        Variants.tinyBert(
                dir,
                name -> name,
                tensors -> {
                    tensors.add(new TensorData(
                            "bert.embeddings.position_ids", ElementType.I64, List.of(1L, 2L), ByteBuffer.allocate(16)));
                    tensors.add(TensorData.ofFloats("cls.predictions.bias", List.of(1L), new float[] {Float.NaN}));
                },
                keys -> {});
        appendTensor("extra.scale", "F8_E4M3", "[3]", 3);
        appendTensor("extra.packed", "F4", "[4]", 2);
        try (HeadedModel model = open(2, ModelOptions.defaults())) {
            assertThat(maxDifference(logits(model), expected.get("logits").toFloats()))
                    .isLessThan(1e-5);
        }
    }

    /** Our writer has no such types. */
    private void appendTensor(String name, String type, String shape, int bytes) throws Exception {
        Path file = dir.resolve("model.safetensors");
        ByteBuffer all = ByteBuffer.wrap(Files.readAllBytes(file)).order(java.nio.ByteOrder.LITTLE_ENDIAN);
        int length = (int) all.getLong(0);
        String header = new String(all.array(), 8, length, java.nio.charset.StandardCharsets.UTF_8).trim();
        int end = all.capacity() - 8 - length;
        byte[] more = (header.substring(0, header.length() - 1)
                        + ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}}"
                                .formatted(name, type, shape, end, end + bytes))
                .getBytes(java.nio.charset.StandardCharsets.UTF_8);
        ByteBuffer out = ByteBuffer.allocate(8 + more.length + end + bytes).order(java.nio.ByteOrder.LITTLE_ENDIAN);
        out.putLong(more.length).put(more).put(all.array(), 8 + length, end);
        Files.write(file, out.array());
    }

    @Test
    void aNeededTensorOfAnotherTypeIsRefused() throws Exception {
        Variants.tinyBert(
                dir,
                name -> name,
                tensors -> {
                    tensors.removeIf(data -> data.name().equals("bert.pooler.dense.bias"));
                },
                keys -> {});
        appendTensor("bert.pooler.dense.bias", "F8_E5M2", "[32]", 32);
        assertThatThrownBy(() -> open(2, ModelOptions.defaults()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(
                        "tensor bert.pooler.dense.bias must be one of [F64, F32, F16, BF16] to be computed with, is F8_E5M2");
    }

    @Test
    void oneTensorUnderTwoNamesIsRefused() throws Exception {
        Variants.tinyBert(
                dir,
                name -> name,
                tensors -> tensors.add(TensorData.ofFloats("embeddings.LayerNorm.gamma", List.of(32L), new float[32])),
                keys -> {});
        assertThatThrownBy(() -> open(2, ModelOptions.defaults()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(
                        "'bert.embeddings.LayerNorm.weight' and 'embeddings.LayerNorm.gamma' are both 'bert.embeddings");
    }

    @Test
    void whereNothingFitsThreeNamesAreShown() throws Exception {
        Variants.tinyBert(dir, name -> "encoder.transformer." + name, tensors -> {}, keys -> {});
        Files.createDirectory(dir.resolve("0_Transformer"));
        Files.writeString(dir.resolve("0_Transformer/config.json"), "{}");
        assertThatThrownBy(() -> open(2, ModelOptions.defaults()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(
                        "model lacks the tensor bert.embeddings.word_embeddings.weight; it has encoder.transf")
                .hasMessageContaining(", … (")
                .hasMessageContaining("a model is in its subfolder 0_Transformer/");
    }

    @Test
    void aHeadOfAnotherSizeIsRefusedWithBothNumbersOrMadeAnew() throws Exception {
        Variants.tinyBert(dir, name -> name, tensors -> {}, keys -> {});
        assertThatThrownBy(() -> open(3, ModelOptions.defaults()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("head has 2 outputs, asked for are 3")
                .hasMessageContaining("task.new_head: true (--set task.new_head=true)");
        for (int labels : List.of(2, 3)) {
            try (HeadedModel model = HeadedModel.open(
                    ModelDirectory.open(dir),
                    new ModelOptions(false, false, 5),
                    HeadKind.SEQUENCE,
                    new HeadOptions(labels, true))) {
                assertThat(model.points().fresh()).containsExactly("classifier");
                float[] logits = logits(model);
                assertThat(logits).hasSize(labels * sentences.lengths().length);
                if (labels == 2) {
                    assertThat(maxDifference(logits, expected.get("logits").toFloats()))
                            .isGreaterThan(1e-3);
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"hidden_act\": \"gelu_new\"}",
                "{\"hidden_act\": \"relu\"}",
                "{\"position_embedding_type\": \"relative_key\"}",
                "{\"is_decoder\": true}",
                "{\"is_decoder\": 1}",
                "{\"add_cross_attention\": true}",
                "{\"is_encoder_decoder\": true}",
                "{\"pruned_heads\": {\"0\": [1]}}",
                "{\"per_layer_config\": {\"0\": {\"hidden_size\": 8}}}",
                "{\"quantization_config\": {\"bits\": 4}}",
                "{\"num_hidden_layers\": 2.5}",
                "{\"num_hidden_layers\": -1}",
                "{\"num_attention_heads\": true}",
                "{\"num_attention_heads\": 5}",
                "{\"layer_norm_eps\": \"1e-12\"}",
                "{\"hidden_dropout_prob\": 1}",
                "{\"vocab_size\": 1e30}",
            })
    void whatChangesTheResultIsRefusedByItsKey(String setting) throws Exception {
        Map<String, Object> change = Json.readObject(Path.of("setting"), setting.getBytes());
        Variants.tinyBert(dir, name -> name, tensors -> {}, keys -> keys.putAll(change));
        String key = change.keySet().iterator().next();
        assertThatThrownBy(() -> open(2, ModelOptions.defaults()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("config.json: " + (key.equals("num_attention_heads") ? "" : key))
                .hasMessageContaining(key);
    }

    @Test
    void whatDoesNotChangeItIsTakenAndUnknownKeysAreNoted() throws Exception {
        Consumer<Map<String, Object>> keys = config -> config.putAll(Map.of(
                "hidden_act",
                "gelu_python",
                "position_embedding_type",
                "absolute",
                "chunk_size_feed_forward",
                2,
                "use_cache",
                false,
                "torchscript",
                true,
                "pruned_heads",
                Map.of(),
                "torch_dtype",
                "float16",
                "directionality",
                "bidi",
                "rotary_base",
                10_000,
                "sparse_attention",
                false));
        Variants.tinyBert(dir, name -> name, tensors -> {}, keys);
        try (HeadedModel model = open(2, ModelOptions.defaults())) {
            assertThat(maxDifference(logits(model), expected.get("logits").toFloats()))
                    .isLessThan(1e-5);
            assertThat(model.model().notes())
                    .containsExactly(
                            "config.json: 'rotary_base' is passed over, as transformers 5.18 does, which does not"
                                    + " know it either");
        }
    }

    /** Reading config-keys.json: a key of a newer transformers has to get a row. */
    @Test
    void everyKeyOfTransformersHasARow() throws Exception {
        Map<String, Object> keys = Json.readObject(Path.of("src/test/resources/method/config-keys.json"));
        assertThat(BertKeys.TABLE.keys()).containsAll(((Map<String, ?>) keys.get("bert")).keySet());
        assertThat(Arrays.asList("use_cache", "problem_type", "id2label")).allMatch(BertKeys.TABLE.keys()::contains);
    }
}
