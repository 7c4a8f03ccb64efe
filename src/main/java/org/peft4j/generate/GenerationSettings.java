package org.peft4j.generate;

import java.util.List;
import org.peft4j.error.ConfigException;

/**
 * How texts are continued.
 *
 * @param maxNewTokens the most tokens that are generated for a prompt
 * @param stop texts at which generation ends; they are no part of the result, wherever tokens begin and end
 * @param endTokens tokens at which it ends, no part of the result either; see
 *     {@link org.peft4j.model.GenerationDefaults}
 */
public record GenerationSettings(int maxNewTokens, Sampling sampling, List<String> stop, List<Integer> endTokens) {
    public GenerationSettings {
        if (maxNewTokens < 1) {
            throw new ConfigException("max_new_tokens must be at least 1, got " + maxNewTokens);
        }
        stop = List.copyOf(stop);
        endTokens = List.copyOf(endTokens);
        if (stop.contains("")) {
            throw new ConfigException(
                    "a stop string must have at least one character: the empty one would stop at once;"
                            + " leave it out");
        }
    }
}
