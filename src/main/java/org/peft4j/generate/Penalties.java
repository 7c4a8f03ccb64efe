package org.peft4j.generate;

import java.util.Arrays;
import java.util.BitSet;
import org.peft4j.error.ConfigException;

/**
 * What tokens lose that were there already.
 *
 * @param repetition scores of tokens of the prompt or the continuation are divided by it where they are above 0, multiplied
 *     where they are below (Keskar et al. 2019, as transformers does it); 1: none
 * @param frequency is taken from a token's score for each time that the continuation has it (OpenAI); 0: none
 * @param presence is taken from the score of each token that the continuation has (OpenAI); 0: none
 */
public record Penalties(double repetition, double frequency, double presence) {
    /** No token loses anything. */
    public static final Penalties NONE = new Penalties(1, 0, 0);

    public Penalties {
        if (!(repetition > 0 && Double.isFinite(repetition))) {
            throw new ConfigException("repetition_penalty must be above 0, 1 for none, got " + repetition);
        }
        if (!Double.isFinite(frequency)) {
            throw new ConfigException("frequency_penalty must be a finite number, 0 for none, got " + frequency);
        }
        if (!Double.isFinite(presence)) {
            throw new ConfigException("presence_penalty must be a finite number, 0 for none, got " + presence);
        }
    }

    boolean none() {
        return equals(NONE);
    }

    /**
     * Changes scores in place.
     *
     * @param prompt tokens of the prompt
     * @param fresh tokens behind it
     */
    void apply(float[] scores, int[] prompt, int[] fresh) {
        if (repetition != 1) {
            BitSet seen = new BitSet(scores.length);
            Arrays.stream(prompt).forEach(seen::set);
            Arrays.stream(fresh).forEach(seen::set);
            seen.stream().forEach(token -> {
                float score = scores[token];
                scores[token] = (float) (score < 0 ? score * repetition : score / repetition);
            });
        }
        if (frequency != 0 || presence != 0) {
            BitSet seen = new BitSet(scores.length);
            for (int token : fresh) {
                scores[token] -= (float) frequency;
                if (!seen.get(token)) {
                    scores[token] -= (float) presence;
                    seen.set(token);
                }
            }
        }
    }
}
