package org.peft4j.task.embedding;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.Pooling;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Json;

/**
 * What {@code modules.json} of sentence-transformers says of a model directory: how rows become a vector. Without the file it is
 * their mean, not normalised.
 */
record SentenceModules(Pooling pooling, boolean normalize) {
    private static final String FILE = "modules.json";
    private static final String POOLING = "1_Pooling";
    private static final String MODE = "pooling_mode";
    private static final List<String> OTHER_MODES =
            List.of("pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens");
    private static final Map<String, Pooling> MODES = Map.of(
            "pooling_mode_mean_tokens", Pooling.MEAN,
            "pooling_mode_cls_token", Pooling.FIRST,
            "pooling_mode_lasttoken", Pooling.LAST,
            "mean", Pooling.MEAN,
            "cls", Pooling.FIRST,
            "lasttoken", Pooling.LAST);

    static SentenceModules read(Path directory) throws IOException {
        Path file = directory.resolve(FILE);
        if (!Files.isRegularFile(file)) {
            return new SentenceModules(Pooling.MEAN, false);
        }
        Pooling pooling = Pooling.MEAN;
        boolean normalize = false;
        for (Map<String, @Nullable Object> module : Json.readObjects(file)) {
            String type = String.valueOf(module.get("type"));
            switch (type.substring(type.lastIndexOf('.') + 1)) {
                case "Transformer" -> {}
                case "Pooling" ->
                    pooling = pooling(directory
                            .resolve(String.valueOf(module.get("path")))
                            .resolve("config.json"));
                case "Normalize" -> normalize = true;
                default ->
                    throw new MalformedFileException(
                            file,
                            -1,
                            "the module " + Json.shown(type)
                                    + " is not offered; Transformer, Pooling and Normalize are");
            }
        }
        return new SentenceModules(pooling, normalize);
    }

    /**
     * Writes the same, as sentence-transformers does.
     *
     * @param width of a vector
     * @param maxLength most tokens of a text
     */
    void write(Path directory, long width, int maxLength) throws IOException {
        List<Map<String, Object>> modules =
                new ArrayList<>(List.of(module(0, "Transformer", ""), module(1, "Pooling", POOLING)));
        if (normalize) {
            modules.add(module(2, "Normalize", "2_Normalize"));
        }
        Map<String, Object> modes = new TreeMap<>();
        MODES.forEach((name, mode) -> {
            if (name.startsWith(MODE)) {
                modes.put(name, mode == pooling);
            }
        });
        OTHER_MODES.forEach(name -> modes.put(name, false));
        modes.put("word_embedding_dimension", width);
        Files.createDirectory(directory.resolve(POOLING));
        AtomicFiles.writeString(directory.resolve(POOLING).resolve("config.json"), Json.write(modes) + "\n");
        AtomicFiles.writeString(
                directory.resolve("sentence_bert_config.json"),
                Json.write(Map.of("max_seq_length", maxLength, "do_lower_case", false)) + "\n");
        AtomicFiles.writeString(directory.resolve(FILE), Json.write(modules) + "\n");
    }

    private static Map<String, Object> module(int number, String type, String path) {
        Map<String, Object> module = new LinkedHashMap<>();
        module.put("idx", number);
        module.put("name", String.valueOf(number));
        module.put("path", path);
        module.put("type", "sentence_transformers.models." + type);
        return module;
    }

    private static Pooling pooling(Path file) throws IOException {
        List<String> on = new ArrayList<>();
        Json.readObject(file).forEach((key, value) -> {
            if (key.startsWith(MODE) && Boolean.TRUE.equals(value)) {
                on.add(key);
            } else if (key.equals(MODE) && value instanceof String name) {
                on.add(name);
            }
        });
        Pooling known = on.size() == 1 ? MODES.get(on.get(0)) : null;
        if (known == null) {
            throw new MalformedFileException(
                    file,
                    -1,
                    "pooling must be one of " + MODES.keySet().stream().sorted().toList() + ", got " + on);
        }
        return known;
    }
}
