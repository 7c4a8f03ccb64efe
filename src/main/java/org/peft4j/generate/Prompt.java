package org.peft4j.generate;

import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.RowTasks;

/**
 * What is to be continued.
 *
 * @param ids its tokens, at least one
 * @param adapter with which it is read and continued; null: the plain model
 * @param number of the prompt, which together with the settings' seed says what is drawn for it
 * @param name what it is called in messages
 * @param task which of the adapter's tasks it is of; {@link RowTasks#NONE}: it says none
 */
@SuppressWarnings("ArrayRecordComponent") // read, and never changed
public record Prompt(int[] ids, @Nullable Adapter adapter, long number, String name, int task) {
    /** One that says no task. */
    public Prompt(int[] ids, @Nullable Adapter adapter, long number, String name) {
        this(ids, adapter, number, name, RowTasks.NONE);
    }

    /** One that is called by its number. */
    public Prompt(int[] ids, @Nullable Adapter adapter, long number) {
        this(ids, adapter, number, "prompt " + number);
    }

    /** The same of a task of its adapter. */
    public Prompt ofTask(int other) {
        return new Prompt(ids, adapter, number, name, other);
    }
}
