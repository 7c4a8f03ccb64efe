package org.peft4j.data.tokenizer;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;

/** A model directory for tests of tokenizers: a config, one tensor, and the files that a test writes. */
public final class TinyModel {
    /** What {@code build-scripts/fixtures/tokenizer_files.py} makes. */
    public static final Path FIXTURES = Path.of("src/test/resources/fixtures/tokenizers");

    private TinyModel() {}

    /** Makes the directory with a BERT's config. */
    public static Path make(Path directory) throws IOException {
        Files.createDirectories(directory);
        Files.writeString(directory.resolve("config.json"), "{\"model_type\": \"bert\"}");
        byte[] header =
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  ".getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(8 + header.length + 4).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(header.length).put(header);
        Files.write(directory.resolve("model.safetensors"), bytes.array());
        return directory;
    }

    /** The same with files: text as it is, other values as JSON. */
    public static ModelDirectory open(Path directory, Map<String, ?> files) throws IOException {
        make(directory);
        for (Map.Entry<String, ?> file : files.entrySet()) {
            Object content = file.getValue();
            Files.writeString(
                    directory.resolve(file.getKey()), content instanceof String text ? text : Json.write(content));
        }
        return ModelDirectory.open(directory);
    }

    /** A fixture's content. */
    public static Map<String, @Nullable Object> fixture(String name) throws IOException {
        return Json.readObject(FIXTURES.resolve(name + ".json"));
    }

    /** The odd texts of the fixtures. */
    @SuppressWarnings("unchecked")
    public static List<String> texts() throws IOException {
        return (List<String>) fixture("texts").get("texts");
    }
}
