package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorLocation;

class ModelDirectoryTest {
    private static final String INDEX = "model.safetensors.index.json";

    @TempDir
    Path dir;

    @BeforeEach
    void config() throws IOException {
        Files.writeString(dir.resolve("config.json"), "{\"model_type\":\"bert\",\"hidden_size\":384}");
    }

    @Test
    void opensASingleFile() throws IOException {
        Path file = RawSafeTensors.write(dir.resolve("model.safetensors"), "a.weight");

        ModelDirectory model = ModelDirectory.open(dir);

        assertThat(model.modelType()).isEqualTo("bert");
        assertThat(model.config()).containsEntry("hidden_size", 384);
        assertThat(model.tensors())
                .isEqualTo(Map.of(
                        "a.weight",
                        new TensorLocation(
                                file, SafeTensors.open(file).tensors().get("a.weight"))));
    }

    @Test
    void opensShardsInTheOrderOfTheIndex() throws IOException {
        Path one = RawSafeTensors.write(dir.resolve("model-00001-of-00002.safetensors"), "z");
        Path two = RawSafeTensors.write(dir.resolve("model-00002-of-00002.safetensors"), "a");
        index("\"z\":\"model-00001-of-00002.safetensors\",\"a\":\"model-00002-of-00002.safetensors\"");

        Map<String, TensorLocation> tensors = ModelDirectory.open(dir).tensors();

        assertThat(tensors.keySet()).containsExactly("z", "a");
        assertThat(tensors.get("z").file()).isEqualTo(one);
        assertThat(tensors.get("a").file()).isEqualTo(two);
    }

    @Test
    void followsLinksAsHubCachesHaveThem() throws IOException {
        Path blob =
                RawSafeTensors.write(Files.createDirectory(dir.resolve("blobs")).resolve("0123abcd"), "a");
        Files.createSymbolicLink(dir.resolve("shard.safetensors"), blob);
        index("\"a\":\"shard.safetensors\"");
        assertThat(ModelDirectory.open(dir).tensors()).containsOnlyKeys("a");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "..",
                ".",
                "",
                "../other.safetensors",
                "sub/a.safetensors",
                "/etc/a.safetensors",
                "sub\\\\a.safetensors",
                "C:a.safetensors",
                "a\\u0000.safetensors",
                "config.json"
            })
    void refusesShardNameThatIsNotAFileOfTheDirectory(String name) throws IOException {
        RawSafeTensors.write(Files.createDirectory(dir.resolve("sub")).resolve("a.safetensors"), "a");
        index("\"a\":\"" + name + "\"");
        refuses("shard of tensor 'a' must be the name of a .safetensors file in the same directory");
    }

    @Test
    void refusesAnIndexThatDoesNotFitItsShards() throws IOException {
        index("\"a\":\"x.safetensors\"");
        refuses("shard 'x.safetensors' is not in the directory");
        RawSafeTensors.write(dir.resolve("x.safetensors"), "b");
        refuses("tensor 'a' must be in shard 'x.safetensors', which does not have it");
        index("\"a\":7");
        refuses("weight_map['a'] must be the name of a shard, got 7");
        index("\"a\":\"pytorch_model-00001-of-00002.bin\"");
        refuses("pickle file", "save_file");
        index("");
        refuses("weight_map must be an object");
        Files.writeString(dir.resolve(INDEX), "{}");
        refuses("weight_map must be an object");
    }

    @ParameterizedTest
    @ValueSource(strings = {"pytorch_model.bin", "consolidated.00.pth", "model.pt", "epoch1.ckpt"})
    void refusesPickleByNameAndSaysHowToConvert(String name) throws IOException {
        Files.writeString(dir.resolve(name), "anything");
        refuses("'" + name + "' is a pickle file", "save_file");
    }

    @Test
    void aPickleBesideSafetensorsIsIgnored() throws IOException {
        RawSafeTensors.write(dir.resolve("model.safetensors"), "a");
        Files.writeString(dir.resolve("training_args.bin"), "anything");
        assertThat(ModelDirectory.open(dir).tensors()).hasSize(1);
    }

    @Test
    void refusesPickleByContent() throws IOException {
        Files.writeString(dir.resolve("model.safetensors"), "PK\3\4\0\0\b\b\0\0\0\0\0\0archive/data.pkl");
        refuses("the content is a pickle file", "save_file");
    }

    @Test
    void saysWhatIsMissing() throws IOException {
        refuses("lacks its weights: model.safetensors");
        RawSafeTensors.write(dir.resolve("model.safetensors"), "a");
        Files.delete(dir.resolve("config.json"));
        refuses("lacks config.json");
        Files.writeString(dir.resolve("adapter_config.json"), "{}");
        refuses("it is an adapter");
        assertThatThrownBy(() -> ModelDirectory.open(dir.resolve("none")))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("none: model must be a directory");
    }

    @Test
    void refusesAConfigWithoutModelTypeAndQuantizedWeights() throws IOException {
        RawSafeTensors.write(dir.resolve("model.safetensors"), "a");
        Files.writeString(dir.resolve("config.json"), "{}");
        refuses("model_type must name the architecture");
        Files.writeString(
                dir.resolve("config.json"), "{\"model_type\":\"llama\",\"quantization_config\":{\"bits\":4}}");
        refuses("quantization_config", "nf4");
        Files.writeString(dir.resolve("config.json"), "{\"model_type\":\"llama\",\"quantization_config\":null}");
        assertThat(ModelDirectory.open(dir).modelType()).isEqualTo("llama");
    }

    private void index(String entries) throws IOException {
        Files.writeString(dir.resolve(INDEX), "{\"metadata\":{\"total_size\":8},\"weight_map\":{" + entries + "}}");
    }

    private void refuses(String... parts) {
        assertThatThrownBy(() -> ModelDirectory.open(dir))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll(parts);
    }
}
