package org.peft4j.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.peft4j.Fixtures;
import org.peft4j.config.RunConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.method.spi.Methods;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.run.RunConfigFile;

/** Methods measured beside LoRA. */
class MethodBenchmarkTest {
    private static final Path ROWS = Fixtures.ROOT.resolve("loss-parity/tiny/rows.jsonl");

    private static RunConfig run(String... settings) {
        Map<String, Object> run = Map.of(
                "model", Map.of("path", Fixtures.TINY_BERT, "device", "cpu"),
                "data", Map.of("train", ROWS),
                "task", Map.of("type", "sequence-classification", "max_length", 16),
                "training", Map.of("batch_size", 4),
                "output", "not-written",
                "method", Map.of("type", "lora", "r", 2, "targets", List.of("query", "value")));
        return RunConfigFile.of(run, "a test", List.of(settings));
    }

    private static Benchmark.Comparison work(List<String> methods, Map<String, RunConfig> added, int rounds) {
        return new Benchmark.Comparison(methods, added, rounds, 1, 1);
    }

    private static Map<String, Map<?, ?>> named(Map<String, Object> result, String key) {
        Map<String, Map<?, ?>> rows = new LinkedHashMap<>();
        for (Object row : (List<?>) result.get(key)) {
            Map<?, ?> map = (Map<?, ?>) row;
            assertThat(rows.put((String) map.get("name"), map)).isNull();
        }
        return rows;
    }

    private static double number(Map<?, ?> row, String key) {
        return ((Number) row.get(key)).doubleValue();
    }

    @Test
    void rowsHaveNumbersBesideLoras() throws IOException {
        long live = Ops.liveBytes(Device.CPU);
        Map<String, RunConfig> added = new LinkedHashMap<>();
        added.put("wide", run("method.r=16", "method.targets=all-linear"));
        added.put("diverging", run("training.optimizer.learning_rate=1e38"));
        List<Object> heard = new ArrayList<>();
        Map<String, Object> result = Benchmark.methods(
                run(),
                work(
                        List.of("lora", "dora", "lora-fa", "c3a", "oft", "prefix-tuning", "bottleneck", "xlora"),
                        added,
                        3),
                row -> heard.add(row.get("name")));

        Map<String, Map<?, ?>> rows = named(result, "rows");
        assertThat(rows.keySet())
                .containsSubsequence("lora", "dora", "lora-fa", "c3a", "oft", "prefix-tuning", "seq_bn", "mam", "wide");
        assertThat(rows).doesNotContainKey("pfeiffer"); // seq_bn by another name
        Map<?, ?> lora = rows.get("lora");
        assertThat(number(lora, "ratio")).isEqualTo(1);
        assertThat(number(lora, "trained")).isLessThan(number(rows.get("dora"), "trained"));
        assertThat(number(rows.get("lora-fa"), "trained")).isLessThan(number(lora, "trained"));
        assertThat(number(rows.get("lora-fa"), "stored_mb")).isLessThan(number(lora, "stored_mb"));
        assertThat(number(rows.get("wide"), "stored_mb")).isGreaterThan(number(lora, "stored_mb"));
        rows.values().forEach(row -> {
            assertThat(number(row, "ratio")).isBetween(number(row, "ratio_min"), number(row, "ratio_max"));
            assertThat(number(row, "tokens_per_second")).isPositive();
            assertThat(number(row, "trained_share")).isBetween(0.0, 1.0);
            assertThat(number(row, "peak_ratio"))
                    .isCloseTo(
                            number(row, "peak_of_a_step_mb") / number(lora, "peak_of_a_step_mb"),
                            within(0.2)); // each beside LoRA anew
        });
        assertThat(rows.get("oft").get("equal_targets")).isEqualTo(true);
        assertThat(((Map<?, ?>) rows.get("oft").get("settings")).get("targets")).isEqualTo(List.of("query", "value"));
        assertThat(rows.get("seq_bn").get("method")).isEqualTo("bottleneck");
        assertThat(rows.get("seq_bn").get("equal_targets")).isEqualTo(false);
        assertThat(((Map<?, ?>) rows.get("c3a").get("changed")).keySet()).hasToString("[block_size]");
        assertThat(rows.get("oft").get("changed")).isEqualTo(Map.of());

        assertThat(named(result, "left_out").get("xlora").get("reason"))
                .asString()
                .contains("adapters must name at least one LoRA adapter");
        assertThat(named(result, "failed").get("diverging").get("error"))
                .asString()
                .contains("not finite");
        assertThat(heard)
                .containsAll(rows.keySet())
                .contains("xlora", "diverging")
                .doesNotHaveDuplicates();
        assertThat(Ops.liveBytes(Device.CPU)).isLessThanOrEqualTo(live); // less where others left something
        assertThat(Path.of("not-written")).doesNotExist();
    }

    @Test
    void everyMethodHasARowOrAReason() throws IOException {
        Map<String, Object> result =
                Benchmark.methods(run(), new Benchmark.Comparison(List.of(), Map.of(), 1, 1, 0), row -> {});

        assertThat(named(result, "failed")).isEmpty();
        Map<String, Map<?, ?>> all = named(result, "rows");
        named(result, "left_out").forEach((name, row) -> {
            assertThat(name)
                    .isIn(
                            "cpt",
                            "adaption-prompt",
                            "xlora",
                            "fusion",
                            "dynamic",
                            "static",
                            "dept",
                            "ept"); // task, model, adapters, positions
            assertThat(all.put(name, row)).isNull();
        });
        assertThat(all.values().stream().map(row -> (Object) row.get("method")).distinct())
                .containsExactlyInAnyOrderElementsOf(Methods.all().stream()
                        .map(method -> (Object) method.name())
                        .toList());
    }

    @Test
    void whatCannotBeComparedIsRefused() {
        refused(run(), work(List.of("dorra"), Map.of(), 1), "methods: 'dorra' is none", "dora", "seq_bn", "bottleneck");
        refused(run(), work(List.of("oft"), Map.of("oft", run()), 1), "'oft'", "rename the file");
        refused(run(), work(List.of("oft"), Map.of("lora", run()), 1), "'lora'", "rename the file");
        refused(
                run(),
                work(List.of("lora"), Map.of("x", run("task.max_length=8")), 1),
                "run file 'x': task.max_length must be that of the others, 16, got 8");
        refused(
                run(),
                work(List.of("lora"), Map.of("x", run("task={type: embedding, max_length: 16}")), 1),
                "task.type must be that of the others, sequence-classification, got embedding");
        refused(
                run(),
                work(List.of("lora"), Map.of("x", run("model.path=elsewhere")), 1),
                "model.path must be that of the others");
        refused(run("method.targets=[nothing]"), work(List.of("oft"), Map.of(), 1), "nothing");
        assertThatThrownBy(() -> Benchmark.methods(run("method={type: oft}"), work(List.of(), Map.of(), 1), row -> {}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("method.type must be lora")
                .hasMessageContaining("got oft");
        assertThatThrownBy(() -> work(List.of(), Map.of(), 0)).hasMessage("rounds must be at least 1, got 0");
    }

    private static void refused(RunConfig lora, Benchmark.Comparison work, String... parts) {
        assertThatThrownBy(() -> Benchmark.methods(lora, work, row -> {}))
                .isInstanceOf(ConfigException.class)
                .satisfies(e -> assertThat(e.getMessage()).contains(parts));
    }
}
