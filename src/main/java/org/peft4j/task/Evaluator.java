package org.peft4j.task;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.metrics.Evaluation;
import org.peft4j.model.Head;
import org.peft4j.nn.seam.ForwardContext;

/** Collects what a model says of rows with answers. The result does not depend on how rows are put into batches. For one thread. */
public interface Evaluator<E extends Example> {
    /** Adds a batch; h are the rows that the task reads, behind the model. */
    void add(Head head, Tensor h, Batch<E> batch, ForwardContext context);

    Evaluation evaluation();
}
