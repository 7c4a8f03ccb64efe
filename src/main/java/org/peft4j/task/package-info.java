/**
 * What models are trained and used for. A {@link org.peft4j.task.TaskType} is one kind of task, registered in
 * {@link org.peft4j.task.TaskTypes}; a {@link org.peft4j.task.Task} is one with everything decided (labels, columns, lengths): what a
 * row becomes, the head, the loss, the metrics, what is written for a row. A task names no model and no method.
 *
 * <pre>
 * row → Task.example → Batch (all sequences one behind the other) → BlockRunner → Task.loss, Evaluator.add or Task.outputs
 * </pre>
 */
@NullMarked
package org.peft4j.task;

import org.jspecify.annotations.NullMarked;
