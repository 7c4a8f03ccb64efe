package org.peft4j.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.peft4j.config.DataConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.config.TrainingConfig.Checkpointing;
import org.peft4j.host.MachineFacts;
import org.peft4j.info.Machine;
import org.peft4j.ops.Device;
import org.peft4j.ops.Devices;
import org.peft4j.ops.Ops;
import org.peft4j.optim.Optimizer;
import org.peft4j.task.Example;
import org.peft4j.train.LoadedRun;
import org.peft4j.train.RunRows;
import org.peft4j.train.TrainingStep;

/** Measurements on this machine: {@code peft4j bench}. */
public final class Benchmark {
    private Benchmark() {}

    /**
     * Times each native operation with each of its providers, see {@link KernelBenchmark}.
     *
     * @param device as {@link ModelConfig#device}
     */
    public static List<Map<String, Object>> kernels(String device, int repeats) {
        return KernelBenchmark.run(Devices.choose(device), repeats);
    }

    /**
     * Trains for some steps on the rows of the run's training data, in order and without a schedule, and says how fast it went
     * and what memory it took. Nothing is written; of the run's settings its output, validation data, epochs and how often it
     * logs and saves have no meaning here.
     *
     * @param run what is trained, with data in a file
     * @param steps steps that are timed
     * @param warmup steps before
     * @return numbers by name; {@code losses} has those of all steps
     */
    public static Map<String, Object> train(RunConfig run, int steps, int warmup) throws IOException {
        DataConfig data = Objects.requireNonNull(run.data(), "a run that is measured needs data in a file");
        try (LoadedRun<?> loaded = LoadedRun.load(run, null, RunRows.of(new DataConfig(data.train(), null)));
                Optimizer optimizer = loaded.optimizer(loaded.groups)) {
            return measure(loaded, optimizer, steps, warmup);
        }
    }

    /**
     * What is generated.
     *
     * @param prompts that go on together
     * @param promptTokens of each
     * @param newTokens of each, at least 2: the first comes with the prompt
     * @param adapters that the prompts take in turn
     * @param rounds that are timed
     */
    public record Generation(int prompts, int promptTokens, int newTokens, Adapters adapters, int rounds) {
        /**
         * Random LoRA adapters.
         *
         * @param number of them, 0 for none
         * @param targets all-linear, or names of layers with commas between them
         */
        public record Adapters(int number, int rank, String targets) {
            public Adapters {
                atLeast(0, number, "adapters");
                atLeast(1, rank, "rank");
                Objects.requireNonNull(targets, "targets");
            }
        }

        public Generation {
            atLeast(1, prompts, "prompts");
            atLeast(1, promptTokens, "prompt-tokens");
            atLeast(2, newTokens, "new-tokens");
            Objects.requireNonNull(adapters, "adapters");
            atLeast(1, rounds, "rounds");
        }

        private static void atLeast(int least, int value, String name) {
            if (value < least) {
                throw new IllegalArgumentException(name + " must be at least " + least + ", got " + value);
            }
        }
    }

    /**
     * Generates from random prompts and says how fast prompts were read and tokens written, and what memory it took; with
     * adapters the plain model and the adapted one by turns. Of the model's settings where it is and its weights' type count.
     *
     * @return numbers by name, medians of the rounds; {@code adapted_decode_share} is the part of the plain model's speed that
     *     is left with the adapters, {@code load_} are what opening the model and its first token took
     */
    public static Map<String, Object> generate(ModelConfig model, Generation work) throws IOException {
        return GenerationBenchmark.run(model, work);
    }

    /**
     * What is compared with LoRA.
     *
     * @param methods names of rows: methods, their named configurations ({@code seq_bn}), variants of LoRA ({@code dora}); a
     *     method's name where it has named configurations means all of them; empty: every one
     * @param added more rows by their names: of each run its method, optimiser, groups and task count; model, type and length
     *     of the task must be those of the others
     * @param rounds of LoRA and of the method in turn, at least 1
     * @param steps of a round, at least 1
     * @param warmup steps before them
     */
    public record Comparison(List<String> methods, Map<String, RunConfig> added, int rounds, int steps, int warmup) {
        public Comparison {
            methods = List.copyOf(methods);
            added = Collections.unmodifiableMap(new LinkedHashMap<>(added));
            Generation.atLeast(1, rounds, "rounds");
            Generation.atLeast(1, steps, "steps");
            Generation.atLeast(0, warmup, "warmup");
        }
    }

    /**
     * Trains some steps of several methods, each by turns with LoRA on the same model and batches. Methods that choose layers get
     * LoRA's; sizes that do not divide the model's widths become smaller ones, {@code changed} in a row. What a method cannot do here (a task, a width, settings that it lacks) leaves its row out with the reason; what goes
     * wrong while it trains is told in its place. Nothing is written.
     *
     * @param lora the run that the others are compared with: LoRA, with data in a file; all take its model, data, task and training
     * @param listener hears of each row as soon as it is measured or left out
     * @return {@code rows}, LoRA's first; {@code left_out}, each with a {@code reason}; {@code failed}, each with an {@code error}; and
     *     the machine. In a row: {@code trained} numbers and their share of the model, head included; real tokens a second, medians of
     *     the rounds, of the method and of LoRA beside it; {@code ratio}, the median of the rounds' ratios, and the extremes;
     *     {@code peak_of_a_step_mb}, the most that a step takes beyond what is there before, and its ratio to LoRA's;
     *     {@code stored_mb}, what is there between steps for the method: parameters, gradients, the optimiser's moments
     * @throws org.peft4j.error.ConfigException if a name is unknown, or LoRA itself cannot be trained
     */
    public static Map<String, Object> methods(RunConfig lora, Comparison work, Consumer<Map<String, Object>> listener)
            throws IOException {
        return MethodBenchmark.run(lora, work, listener);
    }

    private static <E extends Example> Map<String, Object> measure(
            LoadedRun<E> run, Optimizer optimizer, int steps, int warmup) {
        TrainingStep<E> step = new TrainingStep<>(run, optimizer);
        Device device = run.model.model().device();
        TrainingConfig training = run.config.training();
        int accumulated = training.gradientAccumulation();
        List<int[]> batches = run.batches.inOrder();
        List<Double> seconds = new ArrayList<>();
        List<Double> losses = new ArrayList<>();
        long tokens = 0;
        long peak = 0;
        long kept = 0;
        long keptTokens = 1;
        for (int i = 0; i < warmup + steps; i++) {
            int first = i * accumulated;
            List<int[]> batch = IntStream.range(first, first + accumulated)
                    .mapToObj(number -> batches.get(number % batches.size()))
                    .toList();
            long live = Ops.liveBytes(device);
            Ops.resetPeakBytes(device);
            long begin = System.nanoTime();
            TrainingStep.Outcome outcome = step.run(batch, i + 1L, 1);
            double time = (System.nanoTime() - begin) / 1e9;
            losses.add(outcome.loss());
            if (i < warmup) {
                continue;
            }
            seconds.add(time);
            tokens += outcome.tokens();
            if (Ops.peakBytes(device) - live > peak) {
                peak = Ops.peakBytes(device) - live;
                kept = step.keptForBackward();
                keptTokens = outcome.tokens();
            }
        }
        double total = seconds.stream().mapToDouble(Double::doubleValue).sum();
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("tokens_per_second", tokens / total);
        result.put("seconds_per_step", total / steps);
        result.put("seconds", seconds);
        result.put("steps", steps);
        result.put("tokens", tokens);
        result.put("losses", losses);
        result.put("peak_resident_mb", peakResidentBytes() / 1e6);
        result.put("peak_tensor_mb", Ops.peakBytes(device) / 1e6);
        result.put("peak_of_a_step_mb", peak / 1e6);
        result.put("kept_for_backward_mb", kept / 1e6);
        result.put("kept_for_backward_bytes_per_token", kept / keptTokens);
        if (MemoryTable.describes(run.model.points(), run.method) && training.checkpointing() == Checkpointing.NONE) {
            result.put(
                    "memory",
                    MemoryTable.rows(
                            run.model.points(), run.adapter, run.config.model().dtype()));
        }
        result.put("live_tensor_mb", Ops.liveBytes(device) / 1e6);
        result.put(
                "compute", Machine.compute(device.toString(), run.config.model().dtype()));
        result.put("machine", MachineFacts.read());
        result.put("versions", Machine.versions());
        return result;
    }

    /** The most memory this process had, as the system counts it; 0 where it does not say. */
    static long peakResidentBytes() {
        return statusBytes("VmHWM:");
    }

    static long residentBytes() {
        return statusBytes("VmRSS:");
    }

    private static long statusBytes(String name) {
        Path status = Path.of("/proc/self/status");
        try {
            return Files.readAllLines(status).stream()
                    .filter(line -> line.startsWith(name))
                    .map(line -> Arrays.stream(line.split("\\s+"))
                            .skip(1)
                            .findFirst()
                            .orElse("0"))
                    .mapToLong(kilobytes -> Long.parseLong(kilobytes) * 1024)
                    .findFirst()
                    .orElse(0);
        } catch (IOException e) {
            return 0;
        }
    }
}
