package org.peft4j.nn;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.ops.Ops;

/** First values are the same with every Java version; the numbers come from build-scripts/fixtures/init_values.py. */
class InitTest {
    private static final String QUERY = "bert.encoder.layer.0.attention.self.query.lora_A.weight";
    private static final String PROMPT = "prompt_embeddings";

    static {
        Ops.kernels(); // loads libtorch
    }

    private static void check(Tensor values, String expected) {
        float[] floats = Tensors.toFloats(values);
        assertThat(IntStream.range(0, floats.length)
                        .mapToObj(i -> String.format("%08x", Float.floatToRawIntBits(floats[i]))))
                .containsExactlyElementsOf(Stream.of(expected.split(" ")).toList());
        values.close();
    }

    @Test
    void uniformValuesAreGolden() {
        check(Init.uniform(0, QUERY, 0.125, 6), "bd2b9606 3decd4b2 bd054ed4 bd3180ba bde09bbe 3dbc0565");
        check(Init.uniform(-1, PROMPT, 0.125, 2, 3), "3cab8177 bd0a9189 3dbbf9da 3dc8b5ee bd5854eb 3d5d6720");
    }

    @Test
    void normalValuesAreGolden() {
        check(Init.normal(0, QUERY, 0.02, 3, 2), "bae3232b 3b9cc0ae bcb3e39c bcef86df 3cd72caf bc3a9dda");
        check(Init.normal(-1, PROMPT, 0.02, 6), "3cb88064 bd151189 bca2738f 3ca6426d ba81689c 3c80b00b");
    }

    @Test
    void kaimingIsUniformWithinTheRootOfTheColumns() {
        check(
                Init.kaiming(0, QUERY, 2, 64).flatten().narrow(0, 0, 6),
                "bd2b9606 3decd4b2 bd054ed4 bd3180ba bde09bbe 3dbc0565");
    }
}
