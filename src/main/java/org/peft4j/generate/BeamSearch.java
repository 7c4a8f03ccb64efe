package org.peft4j.generate;

import org.peft4j.error.ConfigException;

/**
 * Search for likely continuations as a whole: some go on side by side, and those that ended are compared by the sum of their
 * tokens' log-probabilities over {@code length^lengthPenalty}, the end token counted. What transformers' {@code
 * generate(num_beams=…)} does.
 *
 * @param beams how many go on side by side, at least 2
 * @param lengthPenalty above 0 longer ones are preferred, below 0 shorter ones
 * @param earlyStopping when the search ends
 */
public record BeamSearch(int beams, double lengthPenalty, EarlyStopping earlyStopping) {
    /** When a search ends before the limit of tokens. */
    public enum EarlyStopping {
        /** As soon as as many continuations ended as there are beams: transformers' {@code True}. */
        YES,
        /** When the best one that goes on would not be among them if it ended now: {@code False}, the default. */
        NO,
        /** When none that goes on could ever be among them: {@code "never"}. */
        NEVER
    }

    /** So many beams, transformers' defaults for the rest. */
    public static BeamSearch of(int beams) {
        return new BeamSearch(beams, 1, EarlyStopping.NO);
    }

    public BeamSearch {
        if (beams < 2) {
            throw new ConfigException("num_beams must be at least 2 for a search, or 1 for none, got " + beams);
        }
        if (!Double.isFinite(lengthPenalty)) {
            throw new ConfigException("length_penalty must be a finite number, got " + lengthPenalty);
        }
    }
}
