package org.peft4j.model;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;

/**
 * Where texts end: {@code generation_config.json}, and {@code config.json} where that says nothing of it. What the first says
 * beside it is {@link SuggestedGeneration}, for who asks.
 *
 * @param endTokens tokens that end a text; may be none
 */
public record GenerationDefaults(List<Integer> endTokens) {
    private static final String FILE = "generation_config.json";
    private static final String END = "eos_token_id";

    /** Reads both files. */
    public static GenerationDefaults read(ModelDirectory directory) throws IOException {
        ConfigReader config = new ConfigReader(directory);
        Path file = directory.directory().resolve(FILE);
        if (!Files.isRegularFile(file)) {
            return new GenerationDefaults(endTokens(config));
        }
        ConfigReader own = new ConfigReader(file, Json.readObject(file));
        return new GenerationDefaults(endTokens(own.get(END) == null ? config : own));
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
