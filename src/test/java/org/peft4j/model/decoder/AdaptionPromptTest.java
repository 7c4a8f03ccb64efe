package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;
import static org.peft4j.model.decoder.DecoderFixtures.OPTIONS;
import static org.peft4j.model.decoder.DecoderFixtures.outputs;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Variants;
import org.peft4j.error.MalformedFileException;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.adaption.AdaptionPromptConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.nn.seam.Adapter;

/** LLaMA-Adapters that Hugging Face PEFT made, of the models that it has them for. */
class AdaptionPromptTest {
    private static final int NEW = 12;
    private static final String NAME = "adaption-prompt";

    @TempDir
    Path dir;

    private static Path base(String name) {
        return Fixtures.ROOT.resolve(name);
    }

    private static Map<String, TensorData> expected(Path directory) {
        return Fixtures.read(directory.resolve("expected.safetensors"));
    }

    private static Adapter fresh(HeadedModel model, AdaptionPromptConfig config) {
        return Methods.of(config).attach("fresh", config, model.points(), 3);
    }

    private static Adapter read(Path directory, HeadedModel model) throws Exception {
        AdapterStore.Loaded loaded = AdapterStore.read(directory, "adapter", model.points());
        assertThat(loaded.notes()).isEmpty();
        return loaded.adapter();
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "decoders/gpt2"})
    void logitsGradientsAndLossesEqualPefts(String name) throws Exception {
        Fixtures.Sentences texts = Fixtures.sentences(expected(base(name)));
        Map<String, TensorData> theirs = expected(base(name).resolve(NAME));
        try (HeadedModel model = DecoderFixtures.open(base(name), HeadKind.LANGUAGE, 0, OPTIONS);
                Adapter adapter = read(base(name).resolve(NAME), model);
                RecomputedBlocks recomputed = new RecomputedBlocks()) {
            assertThat(maxDifference(
                            outputs(model, texts, adapter), theirs.get("logits").toFloats()))
                    .isLessThan(5e-5);
            LanguageTraining.firstStepEqualsPefts(model, adapter, texts, recomputed, theirs);
            LanguageTraining.clearGradients(adapter);
            LanguageTraining.lossesEqualPefts(model, adapter, texts, theirs);
        }
    }

    /** Plain texts, those of the adapter and those of another one in one batch. */
    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "decoders/gpt2"})
    void greedyContinuationsThroughTheCacheEqualPefts(String name) throws Exception {
        Map<String, TensorData> plain = expected(base(name));
        Fixtures.Sentences texts = Fixtures.sentences(plain);
        try (HeadedModel model = DecoderFixtures.open(base(name), HeadKind.LANGUAGE, 0, OPTIONS);
                Adapter adapter = read(base(name).resolve(NAME), model);
                Adapter lora = read(base(name).resolve("lora"), model)) {
            List<Prompt> prompts = new ArrayList<>();
            for (int s = 0; s < texts.packing().sequences(); s++) {
                for (Adapter of : Arrays.asList(null, adapter, lora)) {
                    prompts.add(new Prompt(texts.only(s).tokens(), of, s));
                }
            }
            List<Generated> made = new Generator(model.model(), (LanguageHead) model.head())
                    .generate(
                            prompts,
                            new GenerationSettings(NEW, Sampling.GREEDY, List.of(), List.of()),
                            null,
                            GenerationListener.NONE);
            List<int[]> expected = List.of(
                    Fixtures.ints(plain.get("greedy")),
                    Fixtures.ints(expected(base(name).resolve(NAME)).get("greedy")),
                    Fixtures.ints(expected(base(name).resolve("lora")).get("greedy")));
            for (int i = 0; i < made.size(); i++) {
                int s = i / 3;
                assertThat(made.get(i).ids())
                        .as("answer " + i)
                        .isEqualTo(Arrays.copyOfRange(expected.get(i % 3), s * NEW, (s + 1) * NEW));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "decoders/gpt2"})
    void aFreshOneChangesNoBit(String name) throws Exception {
        Fixtures.Sentences texts = Fixtures.sentences(expected(base(name)));
        AdaptionPromptConfig config = AdaptionPromptConfig.defaults();
        try (HeadedModel model = DecoderFixtures.open(base(name), HeadKind.LANGUAGE, 0, OPTIONS);
                Adapter adapter = fresh(model, config)) {
            assertThat(outputs(model, texts, adapter)).isEqualTo(outputs(model, texts, null));
            assertThat(adapter.elements())
                    .isEqualTo(Methods.of(config).parameterCount(config, model.points()))
                    .isEqualTo(2 * (10 * model.points().hiddenSize() + 1)); // two layers
            assertThat(adapter.positions()).isZero();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "decoders/gpt2"})
    void whatPeftWroteIsWrittenBackTheSame(String name) throws Exception {
        Path theirs = base(name).resolve(NAME);
        try (HeadedModel model = DecoderFixtures.open(base(name), HeadKind.LANGUAGE, 0, OPTIONS)) {
            AdapterStore.Loaded loaded = AdapterStore.read(theirs, "adapter", model.points());
            try (Adapter adapter = loaded.adapter()) {
                String called = base(name).getFileName().toString();
                AdapterStore.write(dir, adapter, loaded.config(), model.points(), called, "CAUSAL_LM");
            }
        }
        AdapterFile ours = AdapterFiles.read(dir);
        AdapterFile pefts = AdapterFiles.read(theirs);
        assertThat(ours.tensors().keySet())
                .containsExactlyInAnyOrderElementsOf(pefts.tensors().keySet());
        pefts.tensors().forEach((key, data) -> {
            assertThat(ours.tensors().get(key).shape()).as(key).isEqualTo(data.shape());
            assertThat(ours.tensors().get(key).toFloats()).as(key).isEqualTo(data.toFloats());
        });
        Map<String, Object> mine = new java.util.LinkedHashMap<>(ours.config());
        mine.put("peft_version", pefts.config().get("peft_version"));
        assertThat(mine).isEqualTo(pefts.config());
    }

    /** PEFT gives the same for these weights as a Mistral. */
    @Test
    void aMistralIsAlike() throws Exception {
        Path mistral = Variants.model(
                base("tiny-llama"), Files.createDirectory(dir.resolve("mistral")), tensors -> {}, keys -> {
                    keys.put("model_type", "mistral");
                    keys.put("sliding_window", null);
                    List.of("attention_bias", "mlp_bias", "pretraining_tp").forEach(keys::remove);
                });
        Path own = base("tiny-llama").resolve(NAME);
        try (HeadedModel model = DecoderFixtures.open(mistral, HeadKind.LANGUAGE, 0, OPTIONS);
                Adapter adapter = read(own, model)) {
            Fixtures.Sentences texts = Fixtures.sentences(expected(base("tiny-llama")));
            assertThat(maxDifference(
                            outputs(model, texts, adapter),
                            expected(own).get("logits").toFloats()))
                    .isLessThan(5e-5);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "decoders/qwen3 | types [llama, mistral, gpt2], as in Hugging Face PEFT, and this one's is qwen3",
                "decoders/mistral | 4 heads of 6 are not the model's width of 16",
                "tiny-llama-odd | 4 heads of 12 are not the model's width of 32",
            })
    void otherModelsAreRefused(String name, String message) throws Exception {
        try (HeadedModel model = DecoderFixtures.open(base(name), HeadKind.LANGUAGE, 0, OPTIONS)) {
            assertThatThrownBy(() -> fresh(model, AdaptionPromptConfig.defaults()))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining(message);
        }
    }

    @Test
    void moreLayersThanTheModelHasAreRefused() throws Exception {
        try (HeadedModel model = DecoderFixtures.open(base("tiny-llama"), HeadKind.LANGUAGE, 0, OPTIONS)) {
            assertThatThrownBy(() -> fresh(model, new AdaptionPromptConfig(4, 3, List.of())))
                    .hasMessage("adapter_layers: 3 layers are more than the model's 2");
        }
    }

    @Test
    void anOutputBiasIsRefused() throws Exception {
        Path biased = Variants.model(
                base("tiny-llama"),
                Files.createDirectory(dir.resolve("biased")),
                tensors -> {
                    for (int layer = 0; layer < 2; layer++) {
                        for (String linear : List.of("q_proj", "k_proj", "v_proj", "o_proj")) {
                            int size = linear.startsWith("k") || linear.startsWith("v") ? 16 : 32;
                            tensors.add(TensorData.ofFloats(
                                    "model.layers." + layer + ".self_attn." + linear + ".bias",
                                    List.of((long) size),
                                    new float[size]));
                        }
                    }
                },
                keys -> keys.put("attention_bias", true));
        try (HeadedModel model = DecoderFixtures.open(biased, HeadKind.LANGUAGE, 0, OPTIONS)) {
            assertThatThrownBy(() -> fresh(model, AdaptionPromptConfig.defaults()))
                    .hasMessageContaining("model.layers.0.self_attn.o_proj.bias would be added twice");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "target_modules | mlp | target_modules \"mlp\" is not supported",
                "target_modules | attn | target_modules must be self_attn for this model, got \"attn\"",
                "adapter_len | 0 | adapter_len must be at least 1, got 0",
                "adapter_layers | 2.5 | adapter_layers must be a whole number",
                "adapter_layers | | adapter_layers has to be there, got null",
            })
    void whatAFileAsksForAndIsNotDoneIsRefusedByItsKey(String key, String value, String message) throws Exception {
        try (HeadedModel model = DecoderFixtures.open(base("tiny-llama"), HeadKind.LANGUAGE, 0, OPTIONS)) {
            AdapterFile file = AdapterFiles.read(base("tiny-llama").resolve(NAME));
            Map<String, Object> config = new java.util.LinkedHashMap<>(file.config());
            config.put(key, value == null || !value.matches("[0-9.]+") ? value : (Object) Double.valueOf(value));
            AdapterFiles.write(dir, config, List.copyOf(file.tensors().values()));
            assertThatThrownBy(() -> AdapterStore.read(dir, "adapter", model.points()))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining(message);
        }
    }

    /** With a LoRA on the same rows, and beside a prefix it is refused. */
    @Test
    void itGoesWithLoraOnTheSameRows() throws Exception {
        Fixtures.Sentences texts = Fixtures.sentences(expected(base("tiny-llama")));
        LoraConfig untrained = LoraConfig.builder().targets("q_proj", "k_proj").build();
        try (HeadedModel model = DecoderFixtures.open(base("tiny-llama"), HeadKind.LANGUAGE, 0, OPTIONS);
                Adapter adapter = read(base("tiny-llama").resolve(NAME), model);
                Adapter prefix = read(base("tiny-llama").resolve("prefix"), model);
                Adapter lora = Methods.of(untrained).attach("lora", untrained, model.points(), 1);
                org.bytedeco.javacpp.PointerScope scope = new org.bytedeco.javacpp.PointerScope();
                org.peft4j.nn.seam.ForwardContext context =
                        org.peft4j.nn.seam.ForwardContext.inference(texts.packing(), adapter, lora)) {
            assertThat(org.peft4j.nn.Tensors.toFloats(
                            model.outputs(org.peft4j.model.Tokens.of(texts.tokens()), context)))
                    .isEqualTo(outputs(model, texts, adapter));
            assertThatThrownBy(() -> org.peft4j.nn.seam.ForwardContext.inference(texts.packing(), adapter, prefix))
                    .hasMessageContaining("self_attn");
        }
    }
}
