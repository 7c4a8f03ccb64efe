package org.peft4j.method.spi.multitask;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.InsertedRows;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.RowTasks;

/**
 * The rows of a task: {@code P ∘ (C_t R_t)}.
 *
 * @param shared P, [count, d]
 * @param c C of each task, [tasks, count, ranks]
 * @param r R of each task, [tasks, ranks, d]
 * @param usual the task of texts that say none
 */
record MultitaskPrompt(Parameter shared, Parameter c, Parameter r, int usual) implements InsertedRows {
    @Override
    public int count() {
        return Math.toIntExact(shared.shape()[0]);
    }

    @Override
    public Tensor rows(ForwardContext context) {
        return rows(context, RowTasks.NONE);
    }

    @Override
    public Tensor rows(ForwardContext context, int task) {
        int own = task == RowTasks.NONE ? usual : task;
        return shared.value().mul(c.value().select(0, own).mm(r.value().select(0, own)));
    }
}
