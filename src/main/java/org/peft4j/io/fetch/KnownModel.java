package org.peft4j.io.fetch;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A model that {@link Fetch} can make.
 *
 * @param name            what the user calls it
 * @param coordinates     {@code group:artifact:version} of the jar that has it
 * @param onnxEntry       the weights inside the jar
 * @param tokenizerEntry  the tokenizer inside the jar
 * @param config          content of {@code config.json}; the jar has none, so it is stated here and checked against
 *                        the weights' shapes
 * @param tokenizerConfig content of {@code tokenizer_config.json}
 */
public record KnownModel(
        String name,
        String coordinates,
        String onnxEntry,
        String tokenizerEntry,
        Map<String, @Nullable Object> config,
        Map<String, @Nullable Object> tokenizerConfig) {}
