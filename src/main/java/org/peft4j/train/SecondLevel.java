package org.peft4j.train;

import java.util.List;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.optim.Optimizer;
import org.peft4j.task.Example;

/**
 * The steps of parameters that are trained apart from the others (bilevel training of first order): behind each step of those one, on
 * other rows, with an optimiser of its own. Begins its rows again when it is through with them.
 */
final class SecondLevel<E extends Example> implements AutoCloseable {
    private final Optimizer optimizer;
    private final TrainingStep<E> step;
    private final EpochBatches batches;
    private final int microBatches;
    private List<int[]> epoch = List.of();
    private int epochs;
    private int next;

    SecondLevel(LoadedRun<E> run, EpochBatches batches) {
        this.batches = batches;
        optimizer = run.optimizer(run.groups(true));
        microBatches = run.config.training().gradientAccumulation();
        step = new TrainingStep<>(
                run,
                optimizer,
                Seeds.mix(run.config.training().seed(), "second level"),
                List.of()); // hooks: of the first
    }

    /** See {@link TrainingStep#run}. */
    TrainingStep.Outcome run(long number, double factor) {
        if (next >= epoch.size()) {
            epoch = batches.of(epochs++);
            next = 0;
        }
        int end = Math.min(epoch.size(), next + microBatches);
        List<int[]> own = epoch.subList(next, end);
        next = end;
        return step.run(own, number, factor);
    }

    boolean changing() {
        return step.changing();
    }

    @Override
    public void close() {
        optimizer.close();
    }
}
