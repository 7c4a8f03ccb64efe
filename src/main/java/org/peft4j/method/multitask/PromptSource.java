package org.peft4j.method.multitask;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Prompts of other tasks that a multitask prompt begins with.
 *
 * @param sourceTasks what is taken of them
 * @param sourcePath their adapter, or its {@code adapter_model.safetensors}; null if nothing is taken
 * @param sourceTask the task whose factors are taken, where one task's are
 */
public record PromptSource(
        SourceTasks sourceTasks, @Nullable Path sourcePath, int sourceTask) {
    /** Nothing is taken. */
    public static final PromptSource NONE = new PromptSource(SourceTasks.NONE, null, 0);

    public PromptSource {
        if (sourceTask < 0) {
            throw new IllegalArgumentException("sourceTask must be at least 0, got " + sourceTask);
        }
        if ((sourceTasks == SourceTasks.NONE) != (sourcePath == null)) {
            throw new IllegalArgumentException(
                    sourcePath == null
                            ? "sourcePath must say the adapter that sourceTasks takes from, got none"
                            : "sourceTasks must say what is taken from sourcePath, one of average, exact, shared; got none");
        }
    }
}
