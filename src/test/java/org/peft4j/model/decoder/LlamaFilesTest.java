package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Variants;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;

/** Llama directories as people have them: each way to say how positions turn heads, tied tables, heads, keys that ask for more. */
class LlamaFilesTest {
    private static final int VOCABULARY = 200;

    private final Map<String, TensorData> expected = Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors"));
    private final Fixtures.Sentences texts = Fixtures.sentences(expected);

    @TempDir
    Path dir;

    private HeadedModel open(HeadKind kind) throws Exception {
        return HeadedModel.open(ModelDirectory.open(dir), ModelOptions.defaults(), kind, HeadOptions.of(3));
    }

    private static float[] outputs(HeadedModel model, Packing packing, int... ids) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(packing)) {
            return Tensors.toFloats(model.outputs(Tokens.of(ids), context));
        }
    }

    private float[] outputs(HeadedModel model) {
        return outputs(model, texts.packing(), texts.tokens());
    }

    static List<String> ropes() throws Exception {
        return List.copyOf(
                Json.readObject(Fixtures.TINY_LLAMA.resolve("rope.json")).keySet());
    }

    /** A text within the model's positions and one beyond them, in one batch: each is turned as if it were alone. */
    @ParameterizedTest
    @MethodSource("ropes")
    void positionsTurnHeadsAsInTransformers(String name) throws Exception {
        Map<String, Object> ropes = Json.readObject(Fixtures.TINY_LLAMA.resolve("rope.json"));
        Map<String, TensorData> rope = Fixtures.read(Fixtures.TINY_LLAMA.resolve("rope.safetensors"));
        Variants.tinyLlama(dir, tensors -> {}, keys -> {
            keys.remove("rope_parameters");
            ((Map<?, ?>) ropes.get(name)).forEach((key, value) -> keys.put((String) key, value));
        });
        int[] ids = Fixtures.ints(rope.get("input_ids"));
        int[] both = new int[50];
        System.arraycopy(ids, 0, both, 0, 10);
        System.arraycopy(ids, 0, both, 10, 40);
        try (HeadedModel model = open(HeadKind.LANGUAGE)) {
            float[] logits = outputs(model, Packing.of(10, 40), both);
            for (int length : List.of(10, 40)) {
                int end = length == 10 ? 10 : 50;
                assertThat(maxDifference(
                                Arrays.copyOfRange(logits, (end - 1) * VOCABULARY, end * VOCABULARY),
                                rope.get(name + "." + length).toFloats()))
                        .as(name + " at " + length)
                        .isLessThan(1e-4);
            }
        }
    }

    @Test
    void headsForClassificationAreTransformers() throws Exception {
        Map<String, TensorData> heads = Fixtures.read(Fixtures.TINY_LLAMA.resolve("heads.safetensors"));
        for (HeadKind kind : List.of(HeadKind.SEQUENCE, HeadKind.TOKENS)) {
            String name = kind == HeadKind.SEQUENCE ? "sequence" : "token";
            Variants.tinyLlama(
                    dir,
                    tensors -> heads.forEach((key, data) -> {
                        if (key.startsWith(name + ".score.")) {
                            tensors.add(TensorData.ofFloats(
                                    key.substring(name.length() + 1), data.shape(), data.toFloats()));
                        }
                    }),
                    keys -> {});
            try (HeadedModel model = open(kind)) {
                assertThat(model.points().fresh()).isEmpty();
                assertThat(maxDifference(
                                outputs(model), heads.get(name + ".logits").toFloats()))
                        .isLessThan(1e-4);
            }
        }
    }

    /** transformers reads the last token that is not pad_token_id, also if that is a text's own. */
    @Test
    void aClassifierReadsTheLastTokenThatIsNoPadding() throws Exception {
        Map<String, TensorData> heads = Fixtures.read(Fixtures.TINY_LLAMA.resolve("heads.safetensors"));
        Consumer<List<TensorData>> score = tensors -> tensors.add(TensorData.ofFloats(
                "score.weight",
                heads.get("sequence.score.weight").shape(),
                heads.get("sequence.score.weight").toFloats()));
        float[] expected = heads.get("sequence.logits").toFloats();
        int[] text = Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")))
                .only(2)
                .tokens();
        int[] padded = Arrays.copyOf(text, text.length + 2); // with 0
        int[] both =
                IntStream.concat(Arrays.stream(padded), Arrays.stream(text)).toArray();
        Packing packing = Packing.of(padded.length, text.length);
        for (Integer padding : Arrays.asList(null, 0)) {
            Variants.tinyLlama(dir, score, keys -> keys.put("pad_token_id", padding));
            try (HeadedModel model = open(HeadKind.SEQUENCE)) {
                float[] ours = outputs(model, packing, both);
                double first = maxDifference(Arrays.copyOf(ours, 3), Arrays.copyOfRange(expected, 6, 9));
                assertThat(first < 1e-4).as("padding " + padding).isEqualTo(padding != null);
                assertThat(maxDifference(Arrays.copyOfRange(ours, 3, 6), Arrays.copyOfRange(expected, 6, 9)))
                        .isLessThan(1e-4);
                assertThat(outputs(model, Packing.of(3, 1), new int[4])).hasSize(6); // nothing but padding
            }
        }
        Variants.tinyLlama(dir, score, keys -> keys.put("pad_token_id", "<pad>"));
        assertThatThrownBy(() -> open(HeadKind.SEQUENCE))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("pad_token_id must be the number of a token, got \"<pad>\"");
    }

    @Test
    void theBareModelLoadsWithoutItsPrefix() throws Exception {
        Variants.tinyLlama(
                dir,
                tensors -> {
                    List<TensorData> bare = new ArrayList<>();
                    tensors.forEach(data -> bare.add(new TensorData(
                            data.name().replaceFirst("^model\\.", ""), data.dtype(), data.shape(), data.bytes())));
                    tensors.clear();
                    tensors.addAll(bare);
                },
                keys -> {});
        try (HeadedModel model = open(HeadKind.LANGUAGE)) {
            assertThat(maxDifference(outputs(model), expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
        }
    }

    @Test
    void aTiedTableIsTheHeadWhereverTheFileHasIt() throws Exception {
        List<float[]> logits = new ArrayList<>();
        List<Consumer<List<TensorData>>> files = List.of(
                tensors -> tensors.removeIf(data -> data.name().equals("lm_head.weight")), // as it should be
                tensors -> { // the head's name alone
                    TensorData table = named(tensors, "model.embed_tokens.weight");
                    tensors.removeIf(data ->
                            data.name().equals("lm_head.weight") || data.name().equals("model.embed_tokens.weight"));
                    tensors.add(TensorData.ofFloats("lm_head.weight", table.shape(), table.toFloats()));
                },
                tensors -> { // both
                    TensorData table = named(tensors, "model.embed_tokens.weight");
                    tensors.removeIf(data -> data.name().equals("lm_head.weight"));
                    tensors.add(TensorData.ofFloats("lm_head.weight", table.shape(), table.toFloats()));
                });
        for (Consumer<List<TensorData>> file : files) {
            Variants.tinyLlama(dir, file, keys -> keys.put("tie_word_embeddings", true));
            try (HeadedModel model = open(HeadKind.LANGUAGE)) {
                assertThat(model.points().tensors().get("lm_head.weight").value())
                        .isSameAs(model.points()
                                .tensors()
                                .get("model.embed_tokens.weight")
                                .value());
                logits.add(outputs(model));
            }
        }
        assertThat(logits.get(1)).isEqualTo(logits.get(0));
        assertThat(logits.get(2)).isEqualTo(logits.get(0));
        assertThat(maxDifference(logits.get(0), expected.get("logits").toFloats()))
                .isGreaterThan(1e-2);
    }

    private static TensorData named(List<TensorData> tensors, String name) {
        return tensors.stream()
                .filter(data -> data.name().equals(name))
                .findFirst()
                .orElseThrow();
    }

    /** transformers 5 does the same: what the file has goes before what the config says. */
    @Test
    void twoTablesThatDifferAreNotTied() throws Exception {
        Variants.tinyLlama(dir, tensors -> {}, keys -> keys.put("tie_word_embeddings", true));
        try (HeadedModel model = open(HeadKind.LANGUAGE)) {
            assertThat(maxDifference(outputs(model), expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
        }
    }

    @Test
    void aLanguageModelWithoutAHeadIsRefused() throws Exception {
        Variants.tinyLlama(dir, tensors -> tensors.removeIf(data -> data.name().equals("lm_head.weight")), keys -> {});
        assertThatThrownBy(() -> open(HeadKind.LANGUAGE))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("model lacks the tensor lm_head.weight");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"hidden_act\": \"tanh\"}",
                "{\"is_causal\": false}",
                "{\"num_key_value_heads\": 3}",
                "{\"num_attention_heads\": 5}",
                "{\"head_dim\": 7}",
                "{\"head_dim\": 16}",
                "{\"attention_bias\": true}",
                "{\"attention_bias\": 1}",
                "{\"mlp_bias\": true}",
                "{\"rms_norm_eps\": \"1e-5\"}",
                "{\"attention_dropout\": 1}",
                "{\"vocab_size\": 1e30}",
                "{\"partial_rotary_factor\": 0.5}",
                "{\"rope_theta\": 0}",
                "{\"rope_theta\": \"10000\"}",
                "{\"rope_scaling\": \"linear\"}",
                "{\"rope_scaling\": {\"type\": \"longrope\", \"factor\": 2}}",
                "{\"rope_parameters\": {\"rope_type\": \"proportional\"}}",
                "{\"rope_scaling\": {\"type\": \"linear\"}}",
                "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": -2}}",
                "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}}",
                "{\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8}}",
                "{\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4}}",
                "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 8, \"truncate\": \"no\"}}",
                "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}, \"rope_type\": 3}}",
                "{\"quantization_config\": {\"bits\": 4}}",
                "{\"num_hidden_layers\": 3}",
            })
    void whatChangesTheResultIsRefused(String setting) throws Exception {
        Map<String, Object> change = Json.readObject(Path.of("setting"), setting.getBytes());
        Variants.tinyLlama(dir, tensors -> {}, keys -> keys.putAll(change));
        assertThatThrownBy(() -> open(HeadKind.LANGUAGE))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageMatching("(?s).*(" + change.keySet().iterator().next() + "|num_attention_heads|tensor ).*");
    }

    @Test
    void anUnknownTypeIsRefusedWithTheKnownOnes() throws Exception {
        Variants.tinyLlama(dir, tensors -> {}, keys -> keys.put("rope_scaling", Map.of("type", "spiral", "factor", 2)));
        assertThatThrownBy(() -> open(HeadKind.LANGUAGE))
                .hasMessageEndingWith(
                        "config.json: rope_scaling.type must be one of [default, dynamic, linear, llama3, longrope,"
                                + " yarn], got \"spiral\"");
    }

    @Test
    void whatNobodyReadsIsNoted() throws Exception {
        Map<String, Object> rope = new LinkedHashMap<>(Map.of(
                "rope_type", "default", "rope_theta", 10_000.0, "low_freq_factor", 3, "partial_rotary_factor", 1));
        Variants.tinyLlama(dir, tensors -> {}, keys -> {
            keys.put("rope_parameters", rope);
            keys.put("sliding_window", 8);
            keys.put("pretraining_tp", 2);
            keys.put("torch_dtype", "float16");
        });
        try (HeadedModel model = open(HeadKind.LANGUAGE)) {
            assertThat(maxDifference(outputs(model), expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
            assertThat(model.model().notes())
                    .containsExactly(
                            "config.json: 'sliding_window' is passed over, as transformers 5.18 does, which does not"
                                    + " know it either",
                            "config.json: rope_parameters has 'low_freq_factor', which rope_type default does not"
                                    + " read; passed over, as transformers does");
        }
    }

    /** Reading config-keys.json: a key of a newer transformers has to get a row. */
    @Test
    void everyKeyOfTransformersHasARow() throws Exception {
        Map<String, Object> keys = Json.readObject(Path.of("src/test/resources/method/config-keys.json"));
        assertThat(LlamaFamily.KEYS.keys()).containsAll(((Map<String, ?>) keys.get("llama")).keySet());
    }
}
