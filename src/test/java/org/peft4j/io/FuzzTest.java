package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.SafeTensorsFile;
import org.peft4j.io.safetensors.TensorInfo;

/**
 * Damaged files are read or refused with {@link MalformedFileException}; any other exception fails the test. What is
 * read has to hold what it promises.
 */
class FuzzTest {
    private static final Path NAME = Path.of("fuzz");

    @Test
    void aDamagedSafetensorsHeaderIsReadOrRefused() throws IOException {
        String header = "{\"__metadata__\":{\"format\":\"pt\",\"k\":\"é\"},"
                + RawSafeTensors.entry("base_model.model.q.lora_A.weight", "F32", "[8,2]", 0, 64) + ","
                + RawSafeTensors.entry("b", "BF16", "[3]", 64, 70) + ","
                + RawSafeTensors.entry("empty", "I64", "[0,5]", 70, 70) + ","
                + RawSafeTensors.entry("\\u00e9", "BOOL", "[]", 70, 71) + "}    ";
        byte[] file = RawSafeTensors.bytes(header, 71);
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        Mutations mutations = new Mutations(42);
        int read = 0;
        for (int i = 0; i < 100_000; i++) {
            // half of them keep a true length, else few would reach the JSON
            byte[] damaged = mutations.oneIn(2)
                    ? mutations.mutate(file)
                    : RawSafeTensors.bytes(mutations.mutate(json), mutations.oneIn(8) ? 70 : 71);
            try {
                checkAccountsForEveryByte(damaged);
                read++;
            } catch (MalformedFileException e) {
                assertThat(e.getMessage()).startsWith("fuzz: ").hasSizeLessThan(3000);
            }
        }
        assertThat(read).as("damage that does no harm, such as in a name").isBetween(1_000, 50_000);
    }

    @Test
    void aDamagedConfigIsReadOrRefused() {
        byte[] config = """
                {"alpha_pattern": {}, "bias": "none", "inference_mode": true, "init_lora_weights": true,
                 "lora_alpha": 16, "lora_dropout": 0.05, "peft_type": "LORA", "r": 8, "revision": null,
                 "target_modules": ["query", "v\\u00e4lue"], "nested": [[1, 2.5e-3], {"a": [-1]}]}
                """.getBytes(StandardCharsets.UTF_8);
        Mutations mutations = new Mutations(43);
        int read = 0;
        for (int i = 0; i < 50_000; i++) {
            byte[] damaged = mutations.mutate(config);
            try {
                String written = Json.write(Json.readObject(NAME, damaged));
                assertThat(Json.write(Json.readObject(NAME, written.getBytes(StandardCharsets.UTF_8))))
                        .isEqualTo(written);
                read++;
            } catch (MalformedFileException e) {
                assertThat(e.getMessage()).startsWith("fuzz: ").hasSizeLessThan(3000);
            }
        }
        assertThat(read).isBetween(1_000, 40_000);
    }

    private static void checkAccountsForEveryByte(byte[] file) throws IOException {
        SafeTensorsFile parsed =
                SafeTensors.parseHeader(NAME, Channels.newChannel(new ByteArrayInputStream(file)), file.length);
        long end = 8 + ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong();
        for (TensorInfo tensor : parsed.tensors().values()) {
            assertThat(tensor.offset()).isEqualTo(end);
            assertThat(tensor.length())
                    .isEqualTo((tensor.elements() * tensor.dtype().bits() + 7) / 8);
            end += tensor.length();
        }
        assertThat(end).isEqualTo(file.length);
    }
}
