package org.peft4j.config;

/** What a model is trained to do: one record for each task, chosen by {@code task.type} in run files. */
public sealed interface TaskConfig permits SequenceClassificationConfig {}
