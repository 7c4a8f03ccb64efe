package org.peft4j;

import static java.util.Map.entry;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.ToLongBiFunction;
import org.peft4j.io.safetensors.TensorData;

/**
 * The tiny models with heads of 64 numbers, which every kernel takes, and weights that bfloat16 holds exactly: the same model in each
 * dtype.
 */
final class WideModels {
    private WideModels() {}

    /** Two layers, two heads of queries for one of keys. */
    static Path llama(Path into) throws IOException {
        Map<Long, Long> sizes = Map.ofEntries(entry(32L, 128L), entry(16L, 64L), entry(48L, 96L));
        widen(
                Fixtures.TINY_LLAMA,
                into,
                (name, size) -> sizes.getOrDefault(size, size),
                Map.of(
                        "hidden_size", 128,
                        "head_dim", 64,
                        "num_attention_heads", 2,
                        "num_key_value_heads", 1,
                        "intermediate_size", 96,
                        "max_position_embeddings", 128));
        return into;
    }

    /** Three layers of two heads. */
    static Path bert(Path into) throws IOException {
        Map<Long, Long> sizes = Map.of(32L, 128L, 64L, 96L);
        widen(
                Fixtures.TINY_BERT,
                into,
                (name, size) ->
                        name.contains("position_embeddings") && size == 64 ? 64 : sizes.getOrDefault(size, size),
                Map.of("hidden_size", 128, "num_attention_heads", 2, "intermediate_size", 96));
        return into;
    }

    private static void widen(Path from, Path into, ToLongBiFunction<String, Long> size, Map<String, Object> settings)
            throws IOException {
        Random random = new Random(7);
        Variants.model(
                from,
                into,
                tensors -> tensors.replaceAll(t -> {
                    List<Long> shape = t.shape().stream()
                            .map(n -> size.applyAsLong(t.name(), n))
                            .toList();
                    return TensorData.ofFloats(t.name(), shape, values(t.name(), shape, random));
                }),
                config -> config.putAll(settings));
        for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
            Files.copy(from.resolve(name), into.resolve(name));
        }
    }

    private static float[] values(String name, List<Long> shape, Random random) {
        boolean scale = shape.size() == 1 && name.endsWith("weight"); // of a norm
        double deviation = shape.size() == 1 ? 0.1 : 1 / Math.sqrt(shape.get(1));
        float[] values = new float[Math.toIntExact(shape.stream().reduce(1L, Math::multiplyExact))];
        for (int i = 0; i < values.length; i++) {
            float value = (float) ((scale ? 1 : 0) + deviation * random.nextGaussian());
            values[i] = Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xffff0000);
        }
        return values;
    }
}
