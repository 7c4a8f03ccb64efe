package org.peft4j;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;

/** Copies of fixtures with one thing changed: names of tensors, tensors, keys of a config. */
public final class Variants {
    private Variants() {}

    /** The base model with other names and settings; the tokenizer is left out. */
    public static Path tinyBert(
            Path into,
            UnaryOperator<String> names,
            Consumer<List<TensorData>> tensors,
            Consumer<Map<String, Object>> keys)
            throws IOException {
        return copy(Fixtures.TINY_BERT, "config.json", "model.safetensors", into, names, tensors, keys);
    }

    /** The same of a Llama. */
    public static Path tinyLlama(Path into, Consumer<List<TensorData>> tensors, Consumer<Map<String, Object>> keys)
            throws IOException {
        return copy(Fixtures.TINY_LLAMA, "config.json", "model.safetensors", into, name -> name, tensors, keys);
    }

    /** The same of any model. */
    public static Path model(
            Path from, Path into, Consumer<List<TensorData>> tensors, Consumer<Map<String, Object>> keys)
            throws IOException {
        return copy(from, "config.json", "model.safetensors", into, name -> name, tensors, keys);
    }

    /** An adapter with other names and settings. */
    public static Path adapter(
            String fixture,
            Path into,
            UnaryOperator<String> names,
            Consumer<List<TensorData>> tensors,
            Consumer<Map<String, Object>> keys)
            throws IOException {
        return copy(
                Fixtures.ADAPTERS.resolve(fixture),
                AdapterFiles.CONFIG,
                AdapterFiles.TENSORS,
                into,
                names,
                tensors,
                keys);
    }

    private static Path copy(
            Path from,
            String config,
            String weights,
            Path into,
            UnaryOperator<String> names,
            Consumer<List<TensorData>> change,
            Consumer<Map<String, Object>> keys)
            throws IOException {
        Map<String, Object> settings = new LinkedHashMap<>(Json.readObject(from.resolve(config)));
        keys.accept(settings);
        List<TensorData> tensors = new ArrayList<>();
        for (TensorData data : SafeTensors.read(from.resolve(weights)).values()) {
            tensors.add(new TensorData(names.apply(data.name()), data.dtype(), data.shape(), data.bytes()));
        }
        change.accept(tensors);
        Files.createDirectories(into);
        Files.writeString(into.resolve(config), Json.write(settings));
        SafeTensors.write(into.resolve(weights), Map.of("format", "pt"), tensors);
        return into;
    }
}
