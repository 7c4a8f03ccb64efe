package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.Pooling;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.TrainingException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.ModelPart;
import org.peft4j.method.ModelParts;
import org.peft4j.method.Targets;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.tokens.TrainableTokensConfig;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;

/** What a merge writes: one type everywhere, and only numbers that it holds. */
class MergeTest {
    private final Fixtures.Sentences sentences = Fixtures.tinySentences();

    @TempDir
    Path dir;

    private static TensorData as(ElementType type, TensorData data) {
        float[] values = data.toFloats();
        ByteBuffer bytes = ByteBuffer.allocate(values.length * type.size()).order(ByteOrder.LITTLE_ENDIAN);
        for (float value : values) {
            switch (type) {
                case F64 -> bytes.putDouble(value);
                case F32 -> bytes.putFloat(value);
                case BF16 -> bytes.putShort((short) (Float.floatToRawIntBits(value) >> 16));
                case F16 -> bytes.putShort(half(value));
                default -> throw new AssertionError(type);
            }
        }
        return new TensorData(data.name(), type, data.shape(), bytes.flip());
    }

    /** Towards zero; values here are normal numbers or near 0. */
    private static short half(float value) {
        int bits = Float.floatToRawIntBits(value);
        int exponent = (bits >>> 23 & 0xff) - 127 + 15;
        return (short) (exponent <= 0 ? 0 : bits >>> 16 & 0x8000 | exponent << 10 | bits >>> 13 & 0x3ff);
    }

    private float[] logits(Path model) throws Exception {
        ModelDirectory directory = ModelDirectory.open(model);
        try (HeadedModel open =
                        HeadedModel.open(directory, ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing())) {
            return Tensors.toFloats(open.outputs(Tokens.of(sentences.tokens()), context));
        }
    }

    private static float[] tokenLogits(Path directory, Path adapterDirectory) throws Exception {
        Fixtures.Sentences texts =
                Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
        try (HeadedModel open = HeadedModel.open(
                        ModelDirectory.open(directory), ModelOptions.defaults(), HeadKind.LANGUAGE, HeadOptions.of(0));
                PointerScope scope = new PointerScope()) {
            Adapter[] adapters = adapterDirectory == null
                    ? new Adapter[0]
                    : new Adapter[] {
                        AdapterStore.read(adapterDirectory, "default", open.points())
                                .adapter()
                    };
            try (ForwardContext context = ForwardContext.inference(texts.packing(), adapters)) {
                return Tensors.toFloats(open.outputs(Tokens.of(texts.tokens()), context));
            } finally {
                for (Adapter adapter : adapters) {
                    adapter.close();
                }
            }
        }
    }

    /** An adapter with random values, as a run would save it. */
    private Path adapter(Path base, MethodConfig config) throws Exception {
        return adapter(Methods.of(config), base, config);
    }

    private <C extends MethodConfig> Path adapter(Method<C> method, Path base, MethodConfig config) throws Exception {
        Path to = dir.resolve("adapter");
        try (HeadedModel open = HeadedModel.open(
                        ModelDirectory.open(base), ModelOptions.defaults(), HeadKind.LANGUAGE, HeadOptions.of(0));
                Adapter adapter = method.attach("default", method.configType().cast(config), open.points(), 1)) {
            Random random = new Random(3);
            for (Parameter parameter : adapter.parameters().values()) {
                float[] values = Tensors.toFloats(parameter.value());
                for (int i = 0; i < values.length; i++) {
                    values[i] += (float) (0.1 * random.nextGaussian());
                }
                parameter.set(values);
            }
            AdapterStore.write(to, adapter, config, open.points(), base.toString(), "CAUSAL_LM");
        }
        return to;
    }

    /** The base in float32, so that rounding does not hide anything. */
    private Path wide(Path fixture) throws Exception {
        return Variants.model(
                fixture,
                dir.resolve("base"),
                tensors -> tensors.replaceAll(data -> as(ElementType.F32, data)),
                keys -> keys.put("dtype", "float32"));
    }

    private Path merged(Path base, Path adapter) throws Exception {
        Path merged = dir.resolve("merged");
        Merge.merge(base, adapter, merged, false);
        float[] unmerged = tokenLogits(base, adapter);
        assertThat(maxDifference(tokenLogits(base, null), unmerged)).isGreaterThan(1e-2);
        assertThat(maxDifference(tokenLogits(merged, null), unmerged)).isLessThan(1e-5);
        return merged;
    }

    static Stream<MethodConfig> mergeable() {
        return Stream.of(
                LoraConfig.builder().targets("q_proj", "down_proj", "lm_head").build(),
                LoraConfig.builder().targets("embed_tokens", "v_proj").build(),
                Ia3Config.defaults(),
                new TrainableTokensConfig(List.of(7, 100, 150), Targets.modelDefault(), List.of()));
    }

    @ParameterizedTest
    @MethodSource("mergeable")
    void aMergedLanguageModelIsTheAdapterOnItsBase(MethodConfig config) throws Exception {
        Path base = wide(Fixtures.TINY_LLAMA);
        Path merged = merged(base, adapter(base, config));
        assertThat(Json.readObject(merged.resolve("config.json")))
                .containsEntry("tie_word_embeddings", false)
                .containsEntry("architectures", List.of("LlamaForCausalLM"));
    }

    /** What makes two tied tensors different is written as it is: both, and no longer tied. */
    @ParameterizedTest
    @ValueSource(strings = {"saved-head", "saved-embedding", "lora-head"})
    void tiedTensorsThatBecomeDifferentAreWrittenApart(String name) throws Exception {
        Path odd = Fixtures.ROOT.resolve("tiny-llama-odd");
        Path base = wide(odd);
        assertThat(Json.readObject(base.resolve("config.json"))).containsEntry("tie_word_embeddings", true);
        Path merged = merged(base, odd.resolve(name));
        assertThat(Json.readObject(merged.resolve("config.json"))).containsEntry("tie_word_embeddings", false);
        assertThat(SafeTensors.open(merged.resolve("model.safetensors")).tensors())
                .containsKeys("lm_head.weight", "model.embed_tokens.weight");
        float[] expected = Fixtures.read(odd.resolve(name).resolve("expected.safetensors"))
                .get("logits")
                .toFloats();
        assertThat(maxDifference(tokenLogits(merged, null), expected)).isLessThan(1e-4);
    }

    /** Also in memory. */
    @ParameterizedTest
    @ValueSource(strings = {"saved-head", "saved-embedding", "lora-head"})
    void tiedTensorsThatBecomeDifferentAreApartInMemory(String name) throws Exception {
        Path odd = Fixtures.ROOT.resolve("tiny-llama-odd");
        Path base = wide(odd);
        Fixtures.Sentences texts =
                Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
        try (HeadedModel open = HeadedModel.open(
                        ModelDirectory.open(base), ModelOptions.defaults(), HeadKind.LANGUAGE, HeadOptions.of(0));
                PointerScope scope = new PointerScope()) {
            AdapterStore.Loaded loaded = AdapterStore.read(odd.resolve(name), name, open.points());
            try (Adapter adapter = loaded.adapter();
                    HeadedModel merged =
                            open.withTensors(Methods.of(loaded.config()).merged(adapter, open.points()));
                    ForwardContext context = ForwardContext.inference(texts.packing())) {
                float[] ours = Tensors.toFloats(merged.outputs(Tokens.of(texts.tokens()), context));
                assertThat(maxDifference(ours, tokenLogits(base, odd.resolve(name))))
                        .isLessThan(1e-5);
            }
        }
    }

    static Stream<MethodConfig> besideTiedTensors() {
        return Stream.of(
                LoraConfig.builder().targets("q_proj", "up_proj").build(),
                Ia3Config.defaults(),
                BitFitConfig.defaults(),
                FullConfig.defaults(),
                FullConfig.of(ModelParts.of(ModelPart.HEAD)));
    }

    @ParameterizedTest
    @MethodSource("besideTiedTensors")
    void tiedTensorsThatStayEqualAreWrittenOnce(MethodConfig config) throws Exception {
        Path base = wide(Fixtures.ROOT.resolve("tiny-llama-odd"));
        Path merged = merged(base, adapter(base, config));
        assertThat(Json.readObject(merged.resolve("config.json"))).containsEntry("tie_word_embeddings", true);
        assertThat(SafeTensors.open(merged.resolve("model.safetensors")).tensors())
                .containsKey("model.embed_tokens.weight")
                .doesNotContainKey("lm_head.weight");
    }

    @Test
    void whatEndsTextsIsKept() throws Exception {
        Path merged = dir.resolve("merged");
        Merge.merge(Fixtures.TINY_LLAMA, Fixtures.TINY_LLAMA.resolve("lora"), merged, false);
        for (String name : List.of("generation_config.json", "tokenizer.json", "tokenizer_config.json")) {
            assertThat(merged.resolve(name)).hasSameBinaryContentAs(Fixtures.TINY_LLAMA.resolve(name));
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = ElementType.class,
            names = {"F64", "F32", "F16", "BF16"})
    void configAndTensorsSayTheBasesType(ElementType type) throws Exception {
        Path base = Variants.tinyBert(
                dir.resolve("base"),
                name -> "module." + name,
                tensors -> tensors.replaceAll(data -> data.dtype().isFloat() ? as(type, data) : data),
                keys -> keys.put("torch_dtype", type.torchName()));
        Path merged = dir.resolve("merged");
        Merge.merge(base, Fixtures.ADAPTERS.resolve("lora-query-value"), merged, false);

        ElementType written = type == ElementType.F64 ? ElementType.F32 : type;
        Map<String, Object> config = Json.readObject(merged.resolve("config.json"));
        assertThat(config)
                .containsEntry("dtype", written.torchName())
                .containsEntry("torch_dtype", written.torchName());
        assertThat(SafeTensors.open(merged.resolve("model.safetensors"))
                        .tensors()
                        .values())
                .allMatch(info -> info.dtype() == written);
        float[] expected = Fixtures.read(Fixtures.ADAPTERS.resolve("lora-query-value/expected.safetensors"))
                .get("merged_logits")
                .toFloats();
        assertThat(maxDifference(logits(merged), expected)).isLessThan(type == ElementType.BF16 ? 0.2 : 0.02);
    }

    @Test
    void typesThatAreMixedBecomeFloat32() throws Exception {
        Path base = Variants.tinyBert(
                dir.resolve("base"),
                name -> name,
                tensors -> tensors.replaceAll(
                        data -> data.name().contains("LayerNorm") ? data : as(ElementType.F16, data)),
                keys -> keys.remove("torch_dtype"));
        Merge.merge(base, Fixtures.ADAPTERS.resolve("lora-query-value"), dir.resolve("merged"), false);
        assertThat(Json.readObject(dir.resolve("merged/config.json")))
                .containsEntry("dtype", "float32")
                .doesNotContainKey("torch_dtype");
        assertThat(ModelDirectory.open(dir.resolve("merged")).tensors().values())
                .allMatch(location -> location.info().dtype() == ElementType.F32);
    }

    @Test
    void valuesThatTheTypeDoesNotHoldAreRefusedAndNothingIsWritten() throws Exception {
        Path base = Variants.tinyBert(
                dir.resolve("base"),
                name -> name,
                tensors -> tensors.replaceAll(data -> as(ElementType.F16, data)),
                keys -> {});
        Path adapter = Variants.adapter(
                "lora-query-value",
                dir.resolve("adapter"),
                name -> name,
                tensors -> tensors.replaceAll(data -> data.name().endsWith("classifier.bias")
                        ? TensorData.ofFloats(data.name(), List.of(2L), new float[] {1, 70_000})
                        : data),
                keys -> {});
        assertThatThrownBy(() -> Merge.merge(base, adapter, dir.resolve("merged"), false))
                .isInstanceOf(TrainingException.class)
                .hasMessageContaining("into classifier.bias that float16")
                .hasMessageContaining("convert the base to bfloat16 or float32");
        assertThat(dir.resolve("merged")).doesNotExist();
        assertThat(dir.toFile().list()).containsExactlyInAnyOrder("base", "adapter");
    }

    @Test
    void anAdapterWithAHeadOfAnotherSizeBringsIt() throws Exception {
        Path adapter = Variants.adapter(
                "lora-query-value",
                dir.resolve("adapter"),
                name -> name,
                tensors -> tensors.replaceAll(data -> {
                    if (data.name().endsWith("classifier.bias")) {
                        return TensorData.ofFloats(data.name(), List.of(3L), new float[3]);
                    }
                    return data.name().endsWith("classifier.weight")
                            ? TensorData.ofFloats(data.name(), List.of(3L, 32L), new float[96])
                            : data;
                }),
                keys -> {});
        Merge.merge(Fixtures.TINY_BERT, adapter, dir.resolve("merged"), false);
        assertThat(ModelDirectory.open(dir.resolve("merged"))
                        .tensors()
                        .get("classifier.weight")
                        .info()
                        .shape())
                .containsExactly(3L, 32L);
    }

    /** How rows become a vector goes along, in sentence-transformers' files. */
    @ParameterizedTest
    @EnumSource(Pooling.class)
    void aMergedEmbedderGivesTheAdaptersVectors(Pooling pooling) throws Exception {
        Path adapter = dir.resolve("adapter");
        RunConfig config = RunConfig.builder()
                .model(Fixtures.TINY_BERT)
                .task(EmbeddingConfig.builder()
                        .pooling(pooling)
                        .normalize(pooling != Pooling.MEAN)
                        .maxLength(16)
                        .build())
                .method(LoraConfig.builder().r(2).build())
                .training(
                        TrainingConfig.builder().maxSteps(2).learningRate(2e-2).build())
                .output(adapter)
                .build();
        Trainer.of(config)
                .rows(Stream.of("the", "a", "my").map(word -> Map.of("text", word, "positive", word + " offer")))
                .train();
        Path merged = dir.resolve("merged");
        Merge.merge(Fixtures.TINY_BERT, adapter, merged, false);
        List<String> texts = List.of("a free offer", "my");
        try (TextEmbedder apart = TextEmbedder.open(Fixtures.TINY_BERT, adapter);
                TextEmbedder whole = TextEmbedder.open(merged, null);
                TextEmbedder plain = TextEmbedder.open(Fixtures.TINY_BERT, null)) {
            for (String text : texts) {
                assertThat(maxDifference(whole.embed(text), apart.embed(text))).isLessThan(1e-5);
                assertThat(maxDifference(plain.embed(text), apart.embed(text))).isGreaterThan(1e-3);
            }
        }
    }
}
