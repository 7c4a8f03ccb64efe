package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;

class AdapterFilesTest {
    private static final TensorData TENSOR = TensorData.ofFloats("base_model.a", List.of(2L), new float[] {1, 2});

    @TempDir
    Path dir;

    @Test
    void readsBackWhatItWrote() throws IOException {
        Path adapter = dir.resolve("runs/spam");
        AdapterFiles.write(adapter, Map.of("peft_type", "LORA", "r", 8, "lora_alpha", 16.0), List.of(TENSOR));

        AdapterFile read = AdapterFiles.read(adapter);

        assertThat(read.directory()).isEqualTo(adapter);
        assertThat(read.config()).isEqualTo(Map.of("peft_type", "LORA", "r", 8, "lora_alpha", 16.0));
        assertThat(read.tensors()).isEqualTo(Map.of("base_model.a", TENSOR));
        assertThat(adapter.toFile().list()).containsExactlyInAnyOrder(AdapterFiles.CONFIG, AdapterFiles.TENSORS);
        assertThat(SafeTensors.open(adapter.resolve(AdapterFiles.TENSORS)).metadata())
                .isEqualTo(Map.of("format", "pt"));
        assertThat(adapter.resolve(AdapterFiles.CONFIG))
                .hasContent("{\n  \"lora_alpha\": 16.0,\n  \"peft_type\": \"LORA\",\n  \"r\": 8\n}");
    }

    @Test
    void refusesPickleByNameAndSaysHowToConvert() throws IOException {
        Files.writeString(dir.resolve(AdapterFiles.CONFIG), "{\"peft_type\":\"LORA\"}");
        Files.writeString(dir.resolve("adapter_model.bin"), "PK");
        refuses("'adapter_model.bin' is a pickle file", "save_file");
    }

    @Test
    void refusesPickleByContent() throws IOException {
        Files.writeString(dir.resolve(AdapterFiles.CONFIG), "{\"peft_type\":\"LORA\"}");
        Files.writeString(dir.resolve(AdapterFiles.TENSORS), "PK\3\4\0\0\b\b\0\0\0\0\0\0archive/data.pkl");
        refuses("the content is a pickle file", "save_file");
    }

    @Test
    void saysInOneMessageWhichFilesAreMissing() throws IOException {
        refuses("lacks adapter_config.json and adapter_model.safetensors");
        RawSafeTensors.write(dir.resolve(AdapterFiles.TENSORS), "a");
        refuses("lacks adapter_config.json");
        assertThatThrownBy(() -> AdapterFiles.read(dir.resolve("none")))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("this is not there");
    }

    @Test
    void refusesAConfigThatNamesNoMethod() throws IOException {
        RawSafeTensors.write(dir.resolve(AdapterFiles.TENSORS), "a");
        for (String config : List.of("{}", "{\"peft_type\":null}", "{\"peft_type\":1}", "{\"peft_type\":\" \"}")) {
            Files.writeString(dir.resolve(AdapterFiles.CONFIG), config);
            refuses("peft_type must name the adapter's method");
        }
        assertThatThrownBy(() -> AdapterFiles.write(dir, Map.of("r", 8), List.of(TENSOR)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("peft_type");
    }

    @Test
    void aConfigThatCannotBeWrittenChangesNothing() {
        Path adapter = dir.resolve("a");
        assertThatThrownBy(() -> AdapterFiles.write(adapter, Map.of("peft_type", "LORA", "x", dir), List.of(TENSOR)))
                .isInstanceOf(IllegalArgumentException.class);
        assertThat(adapter).doesNotExist();
    }

    private void refuses(String... parts) {
        assertThatThrownBy(() -> AdapterFiles.read(dir))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(dir.toString())
                .hasMessageContainingAll(parts);
    }
}
