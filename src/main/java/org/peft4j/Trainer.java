package org.peft4j;

import java.io.IOException;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.RunConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.lifetime.Lease;
import org.peft4j.run.RunResult;
import org.peft4j.run.TrainListener;
import org.peft4j.task.TaskType;
import org.peft4j.train.Interrupts;
import org.peft4j.train.OpenedModel;
import org.peft4j.train.RunRows;
import org.peft4j.train.TrainingRun;

/**
 * Trains an adapter as a {@link RunConfig} says, and writes the run directory: adapter, {@code run.json},
 * {@code metrics.jsonl}, {@code report.html}. The same settings, seed, machine and number of threads give the same adapter,
 * bit for bit. Several threads may train at once, each with a trainer and a directory of its own.
 *
 * <p>Interrupting the thread ends the run after the current step; the adapter is saved then, too. Before the first step it
 * ends at once and leaves nothing. The result is {@link RunResult.Status#INTERRUPTED}, and the thread is interrupted again when
 * the call returns. {@link TrainingHandle#stop} does the same to a run in the background, without an interrupt.
 *
 * <p>The adapter is saved before each evaluation, and where anything but the training itself fails (the listener, an evaluation,
 * memory for a step) the adapter of the last whole step is.
 */
public final class Trainer {
    private final RunConfig config;
    private @Nullable BaseModel base;
    private TaskType.@Nullable Rows train;
    private TaskType.@Nullable Rows validation;
    private boolean overwrite;
    private TrainListener listener = new TrainListener() {};

    private Trainer(RunConfig config) {
        this.config = Objects.requireNonNull(config, "config");
    }

    /** A trainer to be told more; for one run and one thread. */
    public static Trainer of(RunConfig config) {
        return new Trainer(config);
    }

    /** Trains into a directory that holds no other run. */
    public static RunResult train(RunConfig config) throws IOException {
        return of(config).train();
    }

    /**
     * Trains.
     *
     * @param overwrite whether a former run in the output directory may be replaced; it stays until the new one first saves
     * @param listener hears of every step, on this thread
     * @throws IOException if a file cannot be read or written; see {@link #train()} for the others
     */
    public static RunResult train(RunConfig config, boolean overwrite, TrainListener listener) throws IOException {
        return of(config).overwrite(overwrite).listener(listener).train();
    }

    /** Trains on a model that is open already and stays so; the config's path and dtype have to be its. */
    public Trainer on(BaseModel opened) {
        base = Objects.requireNonNull(opened, "base");
        return this;
    }

    /**
     * Rows to train on in place of the config's file: columns by name, as a row of JSONL has them. Read once, when training
     * begins, and closed; all of them are tokenised before the first step.
     */
    public Trainer rows(Stream<? extends Map<String, ? extends @Nullable Object>> rows) {
        Objects.requireNonNull(rows, "rows");
        train = columns -> RowReader.of(rows);
        return this;
    }

    /** Rows to evaluate on, as {@link #rows}. */
    public Trainer validationRows(Stream<? extends Map<String, ? extends @Nullable Object>> rows) {
        Objects.requireNonNull(rows, "rows");
        validation = columns -> RowReader.of(rows);
        return this;
    }

    /** Whether a former run in the output directory may be replaced; it stays until the new one first saves. */
    public Trainer overwrite(boolean value) {
        overwrite = value;
        return this;
    }

    /** Hears of every step, on the thread that trains. */
    public Trainer listener(TrainListener value) {
        listener = Objects.requireNonNull(value, "listener");
        return this;
    }

    /**
     * Trains on this thread.
     *
     * @throws org.peft4j.error.ConfigException if a setting does not fit the model or data, or the output directory holds
     *     another run or is being written; nothing is written then
     * @throws IllegalArgumentException if an argument is wrong by itself; nothing is written then
     * @throws IOException if a file cannot be read or written
     * @throws org.peft4j.error.TrainingException if the loss is no longer finite; what was saved is the adapter of an earlier
     *     step
     */
    public RunResult train() throws IOException {
        try (Interrupts interrupts = new Interrupts()) {
            return train(interrupts);
        }
    }

    /**
     * Trains in the background.
     *
     * @return to stop it and to wait for its end
     */
    public TrainingHandle start(Executor executor) {
        AtomicBoolean stop = new AtomicBoolean();
        CompletableFuture<RunResult> result = new CompletableFuture<>();
        executor.execute(() -> {
            try (Interrupts interrupts = Interrupts.orStop(stop)) {
                result.complete(train(interrupts));
            } catch (IOException | RuntimeException | Error e) {
                result.completeExceptionally(e);
            }
        });
        return new TrainingHandle(stop, result);
    }

    /** Trains in the background into a directory that holds no other run. */
    public static TrainingHandle start(RunConfig config, Executor executor) {
        return of(config).start(executor);
    }

    private RunResult train(Interrupts interrupts) throws IOException {
        BaseModel on = base;
        if (on == null) {
            return TrainingRun.train(config, null, runRows(), overwrite, listener, interrupts);
        }
        try (Lease.Held held = on.take()) {
            on.checkSame(OpenedModel.configOf(config));
            return TrainingRun.train(config, on.opened(), runRows(), overwrite, listener, interrupts);
        }
    }

    private RunRows runRows() {
        if (train == null && config.data() == null) {
            throw new ConfigException("a run needs rows to train on: data in its config, or rows(…)");
        }
        RunRows files = config.data() == null ? null : RunRows.of(config.data());
        return new RunRows(
                train != null ? train : Objects.requireNonNull(files).train(),
                validation != null ? validation : files == null || train != null ? null : files.validation());
    }
}
