package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.peft4j.error.TrainingException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.DType;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;

/** What a merge writes: one type everywhere, and only numbers that it holds. */
class MergeTest {
    private final Fixtures.Sentences sentences = Fixtures.tinySentences();

    @TempDir
    Path dir;

    private static TensorData as(DType type, TensorData data) {
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

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F64", "F32", "F16", "BF16"})
    void configAndTensorsSayTheBasesType(DType type) throws Exception {
        Path base = Variants.tinyBert(
                dir.resolve("base"),
                name -> "module." + name,
                tensors -> tensors.replaceAll(data -> data.dtype().isFloat() ? as(type, data) : data),
                keys -> keys.put("torch_dtype", type.torchName()));
        Path merged = dir.resolve("merged");
        Merge.merge(base, Fixtures.ADAPTERS.resolve("lora-query-value"), merged, false);

        DType written = type == DType.F64 ? DType.F32 : type;
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
        assertThat(maxDifference(logits(merged), expected)).isLessThan(type == DType.BF16 ? 0.2 : 0.02);
    }

    @Test
    void typesThatAreMixedBecomeFloat32() throws Exception {
        Path base = Variants.tinyBert(
                dir.resolve("base"),
                name -> name,
                tensors -> tensors.replaceAll(data -> data.name().contains("LayerNorm") ? data : as(DType.F16, data)),
                keys -> keys.remove("torch_dtype"));
        Merge.merge(base, Fixtures.ADAPTERS.resolve("lora-query-value"), dir.resolve("merged"), false);
        assertThat(Json.readObject(dir.resolve("merged/config.json")))
                .containsEntry("dtype", "float32")
                .doesNotContainKey("torch_dtype");
        assertThat(ModelDirectory.open(dir.resolve("merged")).tensors().values())
                .allMatch(location -> location.info().dtype() == DType.F32);
    }

    @Test
    void valuesThatTheTypeDoesNotHoldAreRefusedAndNothingIsWritten() throws Exception {
        Path base = Variants.tinyBert(
                dir.resolve("base"),
                name -> name,
                tensors -> tensors.replaceAll(data -> as(DType.F16, data)),
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
}
