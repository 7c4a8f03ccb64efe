package org.peft4j.generate;

import org.peft4j.error.ConfigException;

/**
 * How the next token is chosen: the likeliest, or drawn by the model's probabilities. The limits work one after the other, as
 * in transformers: temperature, top-k, top-p.
 *
 * @param temperature logits are divided by it; 0: the likeliest token is taken
 * @param topK only so many of the likeliest tokens can come; 0: all
 * @param topP of the likeliest tokens as many can come as have this probability together, at least one; 1: all
 * @param seed of the draws; each prompt has draws of its own, whatever it is generated beside
 */
public record Sampling(double temperature, int topK, double topP, long seed) {
    /** The likeliest token, always. */
    public static final Sampling GREEDY = new Sampling(0, 0, 1, 0);

    public Sampling {
        if (!(temperature >= 0 && Double.isFinite(temperature))) { // also refuses NaN
            throw new ConfigException(
                    "temperature must be 0 (the likeliest token) or a number above it, got " + temperature);
        }
        if (topK < 0) {
            throw new ConfigException("top_k must be 0 (all tokens) or a number of tokens, got " + topK);
        }
        if (!(topP > 0 && topP <= 1)) {
            throw new ConfigException("top_p must be above 0 and at most 1 (all tokens), got " + topP);
        }
    }
}
