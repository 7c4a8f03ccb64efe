package org.peft4j.bench;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.ToDoubleFunction;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.host.MachineFacts;
import org.peft4j.info.Machine;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.run.RunConfigFile;
import org.peft4j.train.LoadedRun;
import org.peft4j.train.OpenedModel;

/**
 * Methods beside LoRA: each trains on the same model and the same batches, by turns with LoRA, so that what else the machine does
 * meets both. At any time LoRA's run and one other are in memory.
 */
final class MethodBenchmark {
    private static final String NAME = "name";
    private static final String METHOD = "method";

    /** LoRA's rounds and a method's, in their order. */
    private record Pair(List<MethodTrial.Round> lora, List<MethodTrial.Round> own) {}

    private final RunConfig reference;
    private final Benchmark.Comparison work;
    private final DataConfig data;
    private final OpenedModel opened;
    private final Device device;

    private MethodBenchmark(RunConfig reference, Benchmark.Comparison work, OpenedModel opened) {
        this.reference = reference;
        this.work = work;
        this.data = Objects.requireNonNull(reference.data(), "methods that are measured need data in a file");
        this.opened = opened;
        device = opened.model().device();
    }

    static Map<String, Object> run(
            RunConfig reference, Benchmark.Comparison work, Consumer<Map<String, Object>> listener) throws IOException {
        List<MethodRow> rows = MethodRow.of(reference, work.methods(), work.added());
        try (OpenedModel opened = OpenedModel.open(
                OpenedModel.configOf(reference), reference.training().seed())) {
            return new MethodBenchmark(reference, work, opened).run(rows, listener);
        }
    }

    private Map<String, Object> run(List<MethodRow> rows, Consumer<Map<String, Object>> listener) throws IOException {
        try (MethodTrial<?> first =
                MethodTrial.load(reference, data, opened)) { // weights are packed at their first use
            first.steps(0, Math.max(1, work.warmup()));
        }
        List<Map<String, Object>> measured = new ArrayList<>();
        List<Map<String, Object>> leftOut = new ArrayList<>();
        List<Map<String, Object>> failed = new ArrayList<>();
        long before = Ops.liveBytes(device);
        try (MethodTrial<?> lora = MethodTrial.load(reference, data, opened)) {
            lora.steps(0, work.warmup());
            List<MethodTrial.Round> alone = new ArrayList<>();
            for (int round = 0; round < work.rounds(); round++) {
                alone.add(lora.steps(round * work.steps(), work.steps()));
            }
            MethodRow row = new MethodRow(MethodRow.LORA, MethodRow.LORA, false, true, List.of());
            Map<String, Object> reached = row(row, lora.run(), new Pair(alone, alone), Ops.liveBytes(device) - before);
            reached.put("changed", Map.of());
            measured.add(reached);
            listener.accept(measured.get(0));
            for (MethodRow other : rows) {
                Map<String, Object> result = beside(lora, other);
                (result.containsKey("reason") ? leftOut : result.containsKey("error") ? failed : measured).add(result);
                listener.accept(result);
            }
        }
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("task", reference.task().type());
        result.put("rounds", work.rounds());
        result.put("steps", work.steps());
        result.put("warmup", work.warmup());
        result.put("rows", measured);
        result.put("left_out", leftOut);
        result.put("failed", failed);
        result.put("compute", Machine.compute(opened.device(), reference.model().dtype()));
        result.put("machine", MachineFacts.read());
        result.put("versions", Machine.versions());
        return result;
    }

    /** A row with numbers, or with the reason why there are none, or the error that ended them. */
    private Map<String, Object> beside(MethodTrial<?> lora, MethodRow row) throws IOException {
        RuntimeException why = null;
        for (MethodRow.Try own : row.runs()) {
            long before = Ops.liveBytes(device);
            MethodTrial<?> trial;
            try {
                trial = MethodTrial.load(own.run().get(), data, opened);
            } catch (RuntimeException e) { // of what the settings, the model, the task and the rows have together
                why = e;
                continue;
            }
            try (trial) {
                trial.steps(0, work.warmup());
                Pair pair = pair(lora, trial);
                Map<String, Object> result = row(row, trial.run(), pair, Ops.liveBytes(device) - before);
                result.put("changed", own.changed());
                return result;
            } catch (RuntimeException e) {
                return without(row, "error", e);
            }
        }
        return without(row, "reason", Objects.requireNonNull(why, "a row has a run"));
    }

    private Pair pair(MethodTrial<?> lora, MethodTrial<?> own) {
        Pair pair = new Pair(new ArrayList<>(), new ArrayList<>());
        for (int round = 0; round < work.rounds(); round++) {
            int first = round * work.steps();
            if (round % 2 == 0) {
                pair.lora().add(lora.steps(first, work.steps()));
            }
            pair.own().add(own.steps(first, work.steps()));
            if (round % 2 == 1) {
                pair.lora().add(lora.steps(first, work.steps()));
            }
        }
        return pair;
    }

    private static Map<String, Object> without(MethodRow row, String why, RuntimeException e) {
        Map<String, Object> result = new LinkedHashMap<>();
        result.put(NAME, row.name());
        result.put(METHOD, row.method());
        result.put(why, e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage());
        return result;
    }

    private static Map<String, Object> row(MethodRow row, LoadedRun<?> run, Pair pair, long stored) {
        double[] ratios = new double[pair.own().size()];
        for (int i = 0; i < ratios.length; i++) {
            ratios[i] = pair.own().get(i).tokensPerSecond() / pair.lora().get(i).tokensPerSecond();
        }
        Arrays.sort(ratios);
        long trained = run.trained();
        double peak = peak(pair.own());
        Map<String, Object> result = new LinkedHashMap<>();
        result.put(NAME, row.name());
        result.put(METHOD, row.method());
        result.put("equal_targets", row.equalTargets());
        result.put("trained", trained);
        result.put("trained_share", (double) trained / run.modelParameters());
        result.put("tokens_per_second", median(pair.own(), MethodTrial.Round::tokensPerSecond));
        result.put("lora_tokens_per_second", median(pair.lora(), MethodTrial.Round::tokensPerSecond));
        result.put("ratio", median(ratios));
        result.put("ratio_min", ratios[0]);
        result.put("ratio_max", ratios[ratios.length - 1]);
        result.put("peak_of_a_step_mb", peak / 1e6);
        result.put("peak_ratio", peak / peak(pair.lora()));
        result.put("stored_mb", stored / 1e6);
        result.put("settings", RunConfigFile.methodMap(run.method));
        return result;
    }

    private static double peak(List<MethodTrial.Round> rounds) {
        return rounds.stream().mapToLong(MethodTrial.Round::peakBytes).max().orElse(0);
    }

    private static double median(List<MethodTrial.Round> rounds, ToDoubleFunction<MethodTrial.Round> value) {
        return median(rounds.stream().mapToDouble(value).sorted().toArray());
    }

    private static double median(double[] sorted) {
        int half = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }
}
