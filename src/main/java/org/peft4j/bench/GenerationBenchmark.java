package org.peft4j.bench;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.ModelConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.generate.Engine;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.host.MachineFacts;
import org.peft4j.info.Machine;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.Model;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.ops.Ops;
import org.peft4j.train.OpenedModel;

/**
 * Speed of generation: a round takes random prompts, reads them in one step of an {@link Engine} and then decodes a token of each a
 * step. With adapters the plain model and the adapted one take turns, so that what else the machine does meets both.
 */
final class GenerationBenchmark {
    /** Seconds of a round, and the most bytes of tensors in it. */
    private record Round(double prefill, double decode, long peakBytes) {}

    private final Model model;
    private final LanguageHead head;
    private final Benchmark.Generation work;
    private final List<int[]> prompts;

    private GenerationBenchmark(Model model, LanguageHead head, Benchmark.Generation work) {
        this.model = model;
        this.head = head;
        this.work = work;
        ModelInfo info = model.info();
        int longest = length(work.prompts() - 1);
        if (info.limited() && (long) longest + work.newTokens() - 1 > info.maxPositions()) {
            throw new ConfigException(
                    "prompt tokens (" + longest + " in the longest prompt) and new tokens must be at most "
                            + (info.maxPositions() + 1) + " together, because the model has " + info.maxPositions()
                            + " positions; got " + longest + " and " + work.newTokens());
        }
        prompts = IntStream.range(0, work.prompts())
                .mapToObj(p -> IntStream.range(0, length(p))
                        .map(i -> (int) ((p * 7919L + i * 104_729L) % info.vocabulary()))
                        .toArray())
                .toList();
    }

    /** Lengths rise evenly from half of the mean to one and a half. */
    private int length(int prompt) {
        int mean = work.promptTokens();
        return work.prompts() == 1 ? mean : Math.max(1, mean / 2 + prompt * mean / (work.prompts() - 1));
    }

    static Map<String, Object> run(ModelConfig config, Benchmark.Generation work) throws IOException {
        Ops.buildInfo(); // the native libraries are no part of the model
        long resident = Benchmark.residentBytes();
        long begin = System.nanoTime();
        try (OpenedModel opened = OpenedModel.open(config, 0);
                Head head = opened.model().head(HeadKind.LANGUAGE, HeadOptions.of(0))) {
            Model model = opened.model();
            GenerationBenchmark benchmark = new GenerationBenchmark(model, (LanguageHead) head, work);
            benchmark.firstToken();
            Map<String, Object> result = new LinkedHashMap<>();
            result.put("load_seconds", (System.nanoTime() - begin) / 1e9);
            result.put("load_resident_mb", (Benchmark.residentBytes() - resident) / 1e6);
            List<Adapter> adapters = new ArrayList<>();
            try {
                for (int a = 0; a < work.adapters().number(); a++) {
                    adapters.add(adapter(model, work.adapters(), a));
                }
                benchmark.run(adapters, result);
                result.put("compute", Machine.compute(model.device().toString(), config.dtype()));
                result.put("machine", MachineFacts.read());
                result.put("versions", Machine.versions());
                return result;
            } finally {
                adapters.forEach(Adapter::close);
            }
        }
    }

    private static Adapter adapter(Model model, Benchmark.Generation.Adapters adapters, int number) {
        LoraConfig lora = LoraConfig.builder()
                .r(adapters.rank())
                .alpha(2.0 * adapters.rank())
                .targets(adapters.targets().split(","))
                .build();
        return Methods.of(lora).attach("adapter " + number, lora, model.points(), number);
    }

    /** What a model does only once is done then: its weights are laid out at their first product. */
    private void firstToken() {
        try (Engine engine = new Engine(model, head, Engine.Limits.of(1))) {
            GenerationSettings one = new GenerationSettings(1, Sampling.GREEDY, List.of(), List.of());
            engine.add(new Prompt(new int[] {0}, null, 0), one, null, GenerationListener.NONE);
            engine.run();
        }
    }

    private void run(List<Adapter> adapters, Map<String, Object> result) {
        List<Round> plain = new ArrayList<>();
        List<Round> adapted = new ArrayList<>();
        round(List.of()); // to warm up
        if (!adapters.isEmpty()) {
            round(adapters);
        }
        for (int r = 0; r < work.rounds(); r++) {
            plain.add(round(List.of()));
            if (!adapters.isEmpty()) {
                adapted.add(round(adapters));
            }
        }
        result.put("prompts", work.prompts());
        result.put("prompt_tokens", tokens());
        result.put("new_tokens", work.newTokens());
        result.put("rounds", work.rounds());
        add(result, "", plain);
        if (!adapters.isEmpty()) {
            result.put("adapters", work.adapters().number());
            result.put("rank", work.adapters().rank());
            result.put("targets", work.adapters().targets());
            add(result, "adapted_", adapted);
            result.put(
                    "adapted_decode_share",
                    median(plain.stream().map(Round::decode).toList())
                            / median(adapted.stream().map(Round::decode).toList()));
        }
        result.put("peak_resident_mb", Benchmark.peakResidentBytes() / 1e6);
    }

    private int tokens() {
        return prompts.stream().mapToInt(prompt -> prompt.length).sum();
    }

    private void add(Map<String, Object> result, String name, List<Round> rounds) {
        double prefill = median(rounds.stream().map(Round::prefill).toList());
        double decode = median(rounds.stream().map(Round::decode).toList());
        result.put(name + "prefill_tokens_per_second", tokens() / prefill);
        result.put(name + "decode_tokens_per_second", work.prompts() * (work.newTokens() - 1.0) / decode);
        result.put(name + "decode_seconds", rounds.stream().map(Round::decode).toList());
        result.put(
                name + "peak_of_a_round_mb",
                rounds.stream().mapToLong(Round::peakBytes).max().orElse(0) / 1e6);
    }

    private Round round(List<Adapter> adapters) {
        long live = Ops.liveBytes(model.device());
        Ops.resetPeakBytes(model.device());
        GenerationSettings settings = new GenerationSettings(work.newTokens(), Sampling.GREEDY, List.of(), List.of());
        try (Engine engine = new Engine(model, head, Engine.Limits.of(work.prompts()))) {
            for (int p = 0; p < work.prompts(); p++) {
                @Nullable Adapter adapter = adapters.isEmpty() ? null : adapters.get(p % adapters.size());
                engine.add(new Prompt(prompts.get(p), adapter, p), settings, null, GenerationListener.NONE);
            }
            long begin = System.nanoTime();
            do {
                engine.step(); // long prompts begin in several
            } while (engine.load().waiting() > 0);
            long read = System.nanoTime();
            engine.run();
            long end = System.nanoTime();
            return new Round((read - begin) / 1e9, (end - read) / 1e9, Ops.peakBytes(model.device()) - live);
        }
    }

    private static double median(List<Double> values) {
        List<Double> sorted = values.stream().sorted().toList();
        int n = sorted.size();
        return (sorted.get((n - 1) / 2) + sorted.get(n / 2)) / 2;
    }
}
