package org.peft4j.method.spi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.Variants;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.WithTinyBert;
import org.peft4j.nn.Tensors;

/** Adapters whose tensors have the names that other savers and wrappers give. */
class PeftTensorNamesTest extends WithTinyBert {
    private static final String LAYER = "base_model.model.bert.encoder.layer.0.attention.self.query.";

    @TempDir
    Path dir;

    static Stream<Arguments> names() {
        UnaryOperator<String> state = name -> name.replaceAll("(lora_[AB])\\.", "$1.reviews.")
                .replaceAll("\\.(classifier|pooler)\\.", ".$1.modules_to_save.reviews.");
        UnaryOperator<String> bare = name -> name.replace("base_model.model.", "");
        return Stream.of("lora-query-value", "lora-bias-all", "lora-bias-lora-only", "lora-modules-to-save", "prefix")
                .flatMap(fixture -> Stream.of(
                                name(fixture, "_orig_mod.", name -> "_orig_mod." + name),
                                name(fixture, "module.", name -> "module." + name),
                                name(
                                        fixture,
                                        "module. inside",
                                        name -> name.replace("base_model.model.", "base_model.model.module.")),
                                name(fixture, "the adapter's name", state),
                                name(
                                        fixture,
                                        "default",
                                        name -> state.apply(name).replace(".reviews", ".default")),
                                name(fixture, "without base_model.model.", bare),
                                name(fixture, "without bert.", name -> name.replace(".bert.", ".")),
                                name(
                                        fixture,
                                        "all at once",
                                        name -> "module._orig_mod."
                                                + bare.apply(state.apply(name)).replace("bert.", "")))
                        // bias "all" saves the classifier's bias three times, with and without modules_to_save
                        .filter(row -> !fixture.equals("lora-bias-all")
                                || !row.get()[1].toString().matches("the adapter.*|default|all.*")));
    }

    private static Arguments name(String fixture, String what, UnaryOperator<String> names) {
        return Arguments.of(fixture, what, names);
    }

    @ParameterizedTest(name = "{0}: {1}")
    @MethodSource("names")
    void namesOfOtherSaversAndWrappersLoad(String fixture, String what, UnaryOperator<String> names) throws Exception {
        Variants.adapter(fixture, dir, names, tensors -> {}, keys -> {});
        try (var adapter = AdapterStore.read(dir, "default", model.points()).adapter()) {
            assertThat(maxDifference(logits(model, adapter), expected(fixture, "logits")))
                    .isLessThan(1e-5);
        }
    }

    private void refuses(
            String fixture, UnaryOperator<String> names, Consumer<List<TensorData>> tensors, String... told)
            throws Exception {
        Variants.adapter(fixture, dir, names, tensors, keys -> {});
        assertThatThrownBy(() -> AdapterStore.read(dir, "default", model.points()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll(told);
    }

    @Test
    void twoAdaptersInOneFileAreRefusedWithBothNames() throws Exception {
        refuses(
                "lora-query-value",
                name -> name.replace("lora_A.", "lora_A.one."),
                tensors -> tensors.add(
                        TensorData.ofFloats(LAYER + "lora_A.two.weight", List.of(4L, 32L), new float[4 * 32])),
                "'" + LAYER + "lora_A.one.weight' and '" + LAYER + "lora_A.two.weight' are both");
    }

    @Test
    void whereNothingFitsNamesAreShown() throws Exception {
        refuses(
                "lora-query-value",
                name -> name.replace("base_model.model.", "transformer."),
                tensors -> {},
                "transformer.bert.encoder.layer.0.attention.self.query.lora_A.weight");
        refuses(
                "lora-query-value",
                name -> name.replace("lora_A", "down"),
                tensors -> {},
                "has no tensor named base_model.model.….lora_A.weight; it has base_model.model.",
                "down.weight, ");
    }

    @Test
    void valuesThatAreNotFiniteAreRefusedWithTheirPlace() throws Exception {
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            float[] values = new float[4 * 32];
            values[2 * 32 + 7] = bad;
            refuses(
                    "lora-query-value",
                    name -> name,
                    tensors -> {
                        tensors.removeIf(data -> data.name().equals(LAYER + "lora_A.weight"));
                        tensors.add(TensorData.ofFloats(LAYER + "lora_A.weight", List.of(4L, 32L), values));
                    },
                    "tensor " + LAYER + "lora_A.weight must hold finite numbers, has " + bad + " at [2, 7]");
        }
        refuses(
                "lora-modules-to-save",
                name -> name,
                tensors -> {
                    tensors.removeIf(data -> data.name().equals("base_model.model.classifier.bias"));
                    tensors.add(TensorData.ofFloats(
                            "base_model.model.classifier.bias", List.of(2L), new float[] {1, Float.NaN}));
                },
                "classifier.bias must hold finite numbers, has NaN at [1]");
        refuses(
                "prefix",
                name -> name,
                tensors -> tensors.replaceAll(data -> data.name().equals("prompt_embeddings")
                        ? TensorData.ofFloats(data.name(), data.shape(), filled(data.toFloats().length, Float.NaN))
                        : data),
                "prompt_embeddings must hold finite numbers, has NaN at [0, 0]");
    }

    private static float[] filled(int n, float value) {
        float[] values = new float[n];
        java.util.Arrays.fill(values, value);
        return values;
    }

    @Test
    void aTableOfTheAdaptersOwnCounts() throws Exception {
        String table = "base_model.model.bert.embeddings.word_embeddings.weight";
        float[] values = Tensors.toFloats(model.points()
                .tensors()
                .get("bert.embeddings.word_embeddings.weight")
                .value());
        List<Long> shape = List.of(values.length / 32L, 32L);
        for (int i = 0; i < values.length; i++) {
            values[i] = -values[i];
        }
        for (String fixture : List.of("lora-query-value", "prefix")) {
            Variants.adapter(
                    fixture,
                    dir,
                    name -> name,
                    tensors -> tensors.add(TensorData.ofFloats(
                            fixture.equals("prefix") ? table.replace("base_model.model.", "base_model.") : table,
                            shape,
                            values)),
                    keys -> {});
            AdapterStore.Loaded loaded = AdapterStore.read(dir, "default", model.points());
            try (var adapter = loaded.adapter()) {
                assertThat(loaded.notes())
                        .contains(
                                "the adapter has its own bert.embeddings.word_embeddings.weight, which takes the place of"
                                        + " the model's");
                assertThat(Tensors.toFloats(adapter.replacements()
                                .get("bert.embeddings.word_embeddings.weight")
                                .value()))
                        .isEqualTo(values);
            }
        }
        refuses(
                "lora-query-value",
                name -> name,
                tensors -> tensors.add(TensorData.ofFloats(table, List.of(7L, 32L), new float[7 * 32])),
                "word_embeddings.weight must have shape " + shape,
                "has [7, 32]; the adapter was made on the model with a vocabulary of another size");
    }

    @Test
    void aWeightThatIsReplacedAndAdaptedIsRefused() throws Exception {
        refuses(
                "lora-query-value",
                name -> name,
                tensors -> tensors.add(
                        TensorData.ofFloats(LAYER + "base_layer.weight", List.of(32L, 32L), new float[32 * 32])),
                LAYER + "lora_A.weight",
                LAYER + "base_layer.weight");
    }

    @Test
    void whatNobodyTrainsIsPassedOverWithANote() throws Exception {
        Variants.adapter(
                "lora-query-value",
                dir,
                name -> name,
                tensors -> tensors.add(new TensorData(
                        "base_model.model.bert.embeddings.position_ids",
                        org.peft4j.io.safetensors.ElementType.I64,
                        List.of(1L, 2L),
                        java.nio.ByteBuffer.allocate(16))),
                keys -> {});
        AdapterStore.Loaded loaded = AdapterStore.read(dir, "default", model.points());
        loaded.adapter().close();
        assertThat(loaded.notes())
                .containsExactly(
                        "the adapter's tensor base_model.model.bert.embeddings.position_ids (I64) is passed over:"
                                + " it belongs to nothing that an adapter trains");
    }

    @Test
    void loraOnATableOfAnotherSizeIsRefusedByName() throws Exception {
        refuses(
                "lora-query-value",
                name -> name,
                tensors -> tensors.add(TensorData.ofFloats(
                        "base_model.model.bert.embeddings.word_embeddings.lora_embedding_A",
                        List.of(1L, 2L),
                        new float[2])),
                "word_embeddings.lora_embedding_A must have shape [1, 300]",
                "vocabulary of another size");
    }

    @Test
    void aRankThatTheConfigDoesNotHaveIsNoted() throws Exception {
        Variants.adapter("lora-query-value", dir, name -> name, tensors -> {}, keys -> keys.put("r", 5));
        AdapterStore.Loaded loaded = AdapterStore.read(dir, "default", model.points());
        loaded.adapter().close();
        assertThat(loaded.notes())
                .containsExactly(
                        "tensor " + LAYER + "lora_A.weight has rank 4, the adapter's config says 5; the tensors count");
    }

    @Test
    void theHeadIsFoundUnderAnyName() throws Exception {
        for (String name : List.of(
                "base_model.model.classifier.weight",
                "module.base_model.model.classifier.modules_to_save.reviews.weight",
                "classifier.weight")) {
            org.peft4j.io.AdapterFile file = new org.peft4j.io.AdapterFile(
                    dir,
                    Map.of(),
                    Map.of(
                            "base_model.model.classifier.original_module.weight",
                            TensorData.ofFloats("a", List.of(0L), new float[0]),
                            name,
                            TensorData.ofFloats(name, List.of(0L), new float[0])));
            assertThat(PeftTensorNames.ending(file, "classifier.weight")
                            .orElseThrow()
                            .name())
                    .isEqualTo(name);
        }
    }

    @Test
    void theMapIsByPath() throws Exception {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(
                org.peft4j.io.AdapterFiles.read(Fixtures.ADAPTERS.resolve("lora-bias-lora-only")),
                "base_model.model.",
                model.points());
        assertThat(byPath)
                .containsKeys("bert.encoder.layer.0.attention.self.key.bias", "classifier.weight")
                .containsKey("bert.encoder.layer.2.output.dense.lora_B.weight");
    }
}
