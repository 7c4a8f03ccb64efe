package org.peft4j.method.multitask;

/** What is taken of prompts that were trained before, as Hugging Face PEFT's {@code prompt_tuning_init} names it. */
public enum SourceTasks {
    /** Nothing. */
    NONE,
    /** The shared rows, and the mean of all tasks' factors: {@code AVERAGE_SOURCE_TASKS}. */
    AVERAGE,
    /** The shared rows, and the factors of one task: {@code EXACT_SOURCE_TASK}. */
    EXACT,
    /** The shared rows alone: {@code ONLY_SOURCE_SHARED}. */
    SHARED
}
