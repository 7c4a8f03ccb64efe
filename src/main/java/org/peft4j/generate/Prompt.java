package org.peft4j.generate;

import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Adapter;

/**
 * What is to be continued.
 *
 * @param ids its tokens, at least one
 * @param adapter with which it is read and continued; null: the plain model
 * @param number of the prompt, which together with the settings' seed says what is drawn for it
 * @param name what it is called in messages
 */
@SuppressWarnings("ArrayRecordComponent") // read, and never changed
public record Prompt(int[] ids, @Nullable Adapter adapter, long number, String name) {
    /** One that is called by its number. */
    public Prompt(int[] ids, @Nullable Adapter adapter, long number) {
        this(ids, adapter, number, "prompt " + number);
    }
}
