package org.peft4j.generate;

import org.jspecify.annotations.Nullable;

/**
 * How a prompt went on.
 *
 * @param ids the new tokens, without the end token; with those of a stop string
 * @param text the new text, which ends before a stop string; null if nobody said how tokens become text
 */
@SuppressWarnings("ArrayRecordComponent") // a result, belongs to who asked for it
public record Generated(int[] ids, @Nullable String text, Reason reason) {
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
