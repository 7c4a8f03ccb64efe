package org.peft4j.model;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;

/**
 * What a model directory says of generation: {@code generation_config.json}, and for the end tokens {@code config.json} where
 * that says nothing of them.
 *
 * @param endTokens tokens that end a text; may be none
 * @param temperature for those who ask for sampling as the model's authors meant it; null where nothing is said
 * @param topK likewise
 * @param topP likewise
 */
public record GenerationDefaults(
        List<Integer> endTokens,
        @Nullable Double temperature,
        @Nullable Integer topK,
        @Nullable Double topP) {
    private static final String FILE = "generation_config.json";
    private static final String END = "eos_token_id";
    private static final double MOST = 1e6;

    /** Reads both files. */
    public static GenerationDefaults read(ModelDirectory directory) throws IOException {
        ConfigReader config = new ConfigReader(directory);
        Path file = directory.directory().resolve(FILE);
        if (!Files.isRegularFile(file)) {
            return new GenerationDefaults(endTokens(config), null, null, null);
        }
        ConfigReader own = new ConfigReader(file, Json.readObject(file));
        Double topK = number(own, "top_k", Integer.MAX_VALUE);
        return new GenerationDefaults(
                endTokens(own.get(END) == null ? config : own),
                number(own, "temperature", MOST),
                topK == null ? null : Integer.valueOf(topK.intValue()),
                number(own, "top_p", Math.nextUp(1.0)));
    }

    private static @Nullable Double number(ConfigReader reader, String key, double below)
            throws MalformedFileException {
        return reader.get(key) == null ? null : Double.valueOf(reader.number(key, 0, 0, below));
    }

    private static List<Integer> endTokens(ConfigReader reader) throws MalformedFileException {
        Object value = reader.get(END);
        if (value == null) {
            return List.of();
        }
        Collection<?> given = value instanceof Collection<?> list ? list : List.of(value);
        List<Integer> tokens = new ArrayList<>();
        for (Object token : given) {
            if (!(token instanceof Number number) || number.doubleValue() != number.intValue()) {
                throw reader.wrong(END, "must be a token's number or a list of them", value);
            }
            tokens.add(number.intValue());
        }
        return List.copyOf(tokens);
    }
}
