package org.peft4j.bench;

import java.io.IOException;
import java.util.List;
import java.util.stream.IntStream;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.optim.Optimizer;
import org.peft4j.task.Example;
import org.peft4j.train.LoadedRun;
import org.peft4j.train.OpenedModel;
import org.peft4j.train.RunRows;
import org.peft4j.train.TrainingStep;

/** A run on a model that others use, too, and its steps. */
final class MethodTrial<E extends Example> implements AutoCloseable {
    /**
     * What some steps took.
     *
     * @param tokens of the rows' texts
     * @param peakBytes the most that a step took beyond what was there before it
     */
    record Round(double seconds, long tokens, long peakBytes) {
        double tokensPerSecond() {
            return tokens / seconds;
        }
    }

    private final LoadedRun<E> run;
    private final Optimizer optimizer;
    private final TrainingStep<E> step;
    private final List<int[]> batches;
    private final Device device;
    private long done;

    private MethodTrial(LoadedRun<E> run) {
        this.run = run;
        batches = run.batches.inOrder();
        device = run.model.model().device();
        optimizer = run.optimizer(run.groups);
        step = new TrainingStep<>(run, optimizer);
    }

    /** Loads a run on an opened model; the caller closes both. */
    static MethodTrial<?> load(RunConfig config, DataConfig data, OpenedModel opened) throws IOException {
        return of(LoadedRun.load(config, opened, RunRows.of(new DataConfig(data.train(), null))));
    }

    private static <E extends Example> MethodTrial<E> of(LoadedRun<E> run) {
        try {
            return new MethodTrial<>(run);
        } catch (RuntimeException | Error e) {
            run.close();
            throw e;
        }
    }

    LoadedRun<E> run() {
        return run;
    }

    /**
     * Trains.
     *
     * @param first number of the first step's batches in the order of the rows, so that several runs take the same
     */
    Round steps(int first, int steps) {
        int accumulated = run.config.training().gradientAccumulation();
        double seconds = 0;
        long tokens = 0;
        long peak = 0;
        for (int i = first; i < first + steps; i++) {
            int from = i * accumulated;
            List<int[]> batch = IntStream.range(from, from + accumulated)
                    .mapToObj(number -> batches.get(number % batches.size()))
                    .toList();
            long live = Ops.liveBytes(device);
            Ops.resetPeakBytes(device);
            long begin = System.nanoTime();
            TrainingStep.Outcome outcome = step.run(batch, ++done, 1);
            seconds += (System.nanoTime() - begin) / 1e9;
            tokens += outcome.tokens();
            peak = Math.max(peak, Ops.peakBytes(device) - live);
        }
        return new Round(seconds, tokens, peak);
    }

    @Override
    public void close() {
        optimizer.close();
        run.close();
    }
}
