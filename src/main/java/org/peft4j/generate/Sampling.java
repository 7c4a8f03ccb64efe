package org.peft4j.generate;

import org.peft4j.error.ConfigException;

/**
 * How the next token is chosen: the likeliest, or drawn by the model's probabilities. What changes logits works in this order,
 * which is that of transformers: repetition penalty, frequency and presence penalty (which transformers has not, so they are
 * what OpenAI and vLLM do, in vLLM's place), temperature, top-k, top-p, min-p. Each sees what the one before left.
 *
 * @param temperature logits are divided by it; 0: the likeliest token is taken
 * @param topK only so many of the likeliest tokens can come, and those that are as likely as the last of them; 0: all
 * @param topP of the likeliest tokens as many can come as have this probability together, at least one; 1: all
 * @param minP only tokens can come that have this share of the likeliest one's probability; 0: all
 * @param penalties what tokens that were there already lose
 * @param seed of the draws; each prompt has draws of its own, whatever it is generated beside
 */
public record Sampling(double temperature, int topK, double topP, double minP, Penalties penalties, long seed) {
    /** The likeliest token, always. */
    public static final Sampling GREEDY = new Sampling(0, 0, 1, 0, Penalties.NONE, 0);

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
        if (!(minP >= 0 && minP <= 1)) {
            throw new ConfigException("min_p must be from 0 (all tokens) to 1, got " + minP);
        }
    }

    /** Draws without limits and penalties. */
    public static Sampling draws(double temperature, long seed) {
        return new Sampling(temperature, 0, 1, 0, Penalties.NONE, seed);
    }

    /** Whether the likeliest token is taken. */
    public boolean greedy() {
        return temperature == 0;
    }
}
