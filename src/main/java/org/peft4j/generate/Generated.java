package org.peft4j.generate;

import org.jspecify.annotations.Nullable;

/**
 * How a prompt went on.
 *
 * @param ids the new tokens, without the end token; with those of a stop string
 * @param text the new text, which ends before a stop string; null if nobody said how tokens become text
 * @param reason why it ended
 * @param logProbs of each of the ids the natural logarithm of its probability, as the model gave it: before penalties,
 *     temperature and limits; null if nobody asked
 */
@SuppressWarnings("ArrayRecordComponent") // a result, belongs to who asked for it
public record Generated(int[] ids, @Nullable String text, Reason reason, double @Nullable [] logProbs) {
    /** Why it ended. */
    public enum Reason {
        /** A token that ends texts. */
        END_TOKEN,
        /** One of the stop strings. */
        STOP_STRING,
        /** As many tokens as were asked for, or as the model has positions for. */
        LENGTH
    }
}
