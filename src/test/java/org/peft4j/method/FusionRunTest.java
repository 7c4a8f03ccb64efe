package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.BaseModel;
import org.peft4j.Combine;
import org.peft4j.Fixtures;
import org.peft4j.LoadedAdapter;
import org.peft4j.Merge;
import org.peft4j.TextClassifier;
import org.peft4j.TextGenerator;
import org.peft4j.Trainer;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.model.HeadKind;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunSummary;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;
import org.peft4j.run.files.AdapterSettings;

/** AdapterFusion from run files: two tasks are trained, then fused for a third one. */
class FusionRunTest {
    private static final List<String> MAILS = List.of("you have a mail", "win a prize now", "see you");

    @TempDir
    Path dir;

    private Path rows;

    @BeforeEach
    void write() throws Exception {
        rows = Files.write(
                dir.resolve("rows.jsonl"),
                IntStream.range(0, 9)
                        .mapToObj(i -> "{\"text\": \"you have a mail %s\", \"kind\": \"%s\", \"label\": \"%s\"}"
                                .formatted(
                                        "now ".repeat(i % 4),
                                        List.of("a", "b", "c").get(i % 3),
                                        i % 2))
                        .toList());
    }

    private RunConfig config(String task, String method, String output, String... more) throws Exception {
        Path file = Files.writeString(
                dir.resolve("run.yaml"), """
                    model: {path: %s, dropout: 0}
                    data: {train: %s}
                    task: %s
                    method: %s
                    training: {epochs: 2, batch_size: 4, optimizer: {learning_rate: 0.01}}
                    output: %s
                    """.formatted(Fixtures.TINY_BERT, rows, task, method, dir.resolve(output)));
        return RunConfigFile.read(file, List.of(more));
    }

    /** Three labels and two, of which the fusion has neither's head. */
    private void trainExperts() throws Exception {
        String three =
                "{type: sequence-classification, label: kind, labels: [a, b, c], new_head: true, max_length: 16}";
        Trainer.train(config(three, "{type: bottleneck, reduction_factor: 4}", "kinds"));
        Trainer.train(config(two(), "{type: bottleneck, activation: gelu, scaling: learned}", "spam"));
    }

    private static String two() {
        return "{type: sequence-classification, labels: ['0', '1'], max_length: 16}";
    }

    private String fusion(String more) {
        return "{type: fusion, adapters: {kinds: %s, spam: %s}%s}"
                .formatted(dir.resolve("kinds"), dir.resolve("spam"), more);
    }

    private static Map<String, byte[]> bytes(Path directory) throws Exception {
        Map<String, byte[]> bytes = new LinkedHashMap<>();
        for (String name : List.of(AdapterFiles.CONFIG, AdapterFiles.TENSORS)) {
            bytes.put(name, Files.readAllBytes(directory.resolve(name)));
        }
        return bytes;
    }

    private static List<Float> logits(Path adapter) throws Exception {
        List<Float> logits = new ArrayList<>();
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, adapter)) {
            for (String mail : MAILS) {
                logits.addAll(classifier.predict(mail).logits());
            }
        }
        return logits;
    }

    @Test
    void twoTasksAreFusedForAThird() throws Exception {
        trainExperts();
        Map<String, byte[]> before = bytes(dir.resolve("kinds"));
        RunConfig config = config(two(), fusion(""), "out");
        FusionConfig method = (FusionConfig) config.method();
        assertThat(new ArrayList<>(method.adapters().keySet())).containsExactly("kinds", "spam");
        assertThat(method.value()).isTrue();
        assertThat(RunConfigFile.of(RunConfigFile.toMap(config), "again", List.of()))
                .isEqualTo(config);
        List<String> notes = new ArrayList<>();
        List<Double> losses = new ArrayList<>();
        Trainer.train(config, false, new TrainListener() {
            @Override
            public void started(RunSummary summary) {
                notes.addAll(summary.notes());
            }

            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                losses.add(metrics.loss());
            }
        });
        assertThat(losses).hasSize(6).allMatch(Double::isFinite);
        assertThat(notes).anyMatch(note -> note.startsWith("adapter 'kinds': what it was trained with as a head"));
        Path out = dir.resolve("out");
        for (String name : before.keySet()) {
            assertThat(bytes(dir.resolve("kinds")).get(name)).as(name).isEqualTo(before.get(name));
        }
        Map<String, float[]> first = values(dir.resolve("kinds"));
        Map<String, float[]> kept = values(out.resolve("0"));
        first.keySet().removeIf(name -> name.contains("classifier"));
        assertThat(kept.keySet()).isEqualTo(first.keySet());
        kept.forEach((name, values) -> assertThat(values).as(name).isEqualTo(first.get(name)));
        assertThat(AdapterFiles.read(out).config()).containsEntry("adapter_names", List.of("kinds", "spam"));

        List<Float> fused = logits(out);
        Files.move(dir.resolve("kinds"), dir.resolve("elsewhere"));
        assertThat(logits(out)).as("it has all that it needs").isEqualTo(fused);
        goesOnToTheSameBits(out);

        assertThatThrownBy(() -> Merge.merge(Fixtures.TINY_BERT, out, dir.resolve("merged"), false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("a fusion adapter cannot be merged: each row has shares of its own");
        assertThatThrownBy(() -> Combine.adapters().add(out, 0.5).add(out, 0.5).write(dir.resolve("both"), false))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("this is ADAPTER_FUSION");
    }

    private static Map<String, float[]> values(Path adapter) throws Exception {
        Map<String, float[]> values = new LinkedHashMap<>();
        AdapterFiles.read(adapter).tensors().forEach((name, data) -> values.put(name, data.toFloats()));
        return values;
    }

    /** Of a run that begins with it: the experts come from its folders. */
    private void goesOnToTheSameBits(Path start) throws Exception {
        List<Map<String, float[]>> ends = new ArrayList<>();
        for (String name : List.of("one", "two")) {
            RunConfig fresh = config(two(), "{type: bottleneck}", name);
            Trainer.train(RunConfig.builder()
                    .model(fresh.model())
                    .task(fresh.task())
                    .data(fresh.data())
                    .training(fresh.training())
                    .adapter(start)
                    .output(dir.resolve(name))
                    .build());
            ends.add(values(dir.resolve(name)));
            assertThat(AdapterFiles.read(dir.resolve(name)).config())
                    .isEqualTo(AdapterFiles.read(start).config());
            Map<String, float[]> expert = values(start.resolve("1"));
            values(dir.resolve(name).resolve("1"))
                    .forEach((path, values) -> assertThat(values).as(path).isEqualTo(expert.get(path)));
        }
        Map<String, float[]> began = values(start);
        assertThat(ends.get(0).keySet()).isEqualTo(began.keySet());
        ends.get(0).forEach((path, values) -> {
            assertThat(values).as(path).isEqualTo(ends.get(1).get(path));
            assertThat(values).as(path).isNotEqualTo(began.get(path));
        });
    }

    @Test
    void aFusionGeneratesAndStandsBesideOtherAdapters() throws Exception {
        Map<String, Path> experts =
                FusionExpertsOf.model(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE, BottleneckConfig.doubleSeqBn());
        String method = "{type: fusion, config: static, query_before_ln: true, dropout: 0.1, adapters: {a: %s, b: %s}}"
                .formatted(experts.get("mails"), experts.get("others"));
        Trainer.train(config("{type: causal-lm, max_length: 16}", method, "out", "model.path=" + Fixtures.TINY_LLAMA));
        assertThat(AdapterFiles.read(dir.resolve("out")).tensors().keySet())
                .hasSize(2 * 2 * 4)
                .contains("base_model.model.model.layers.0.mlp.down_proj.adapter_fusion_layer.key.bias");
        try (TextGenerator generator = TextGenerator.open(Fixtures.TINY_LLAMA, dir.resolve("out"))) {
            assertThat(generator.generate("you have")).isNotNull();
        }
        trainExperts();
        Trainer.train(config(two(), fusion(", regularization: false"), "fused"));
        try (BaseModel base = BaseModel.open(Fixtures.TINY_BERT);
                LoadedAdapter fused = base.load("fused", dir.resolve("fused"));
                LoadedAdapter spam = base.load("spam", dir.resolve("spam"))) {
            List<TextClassifier.Prediction> together = TextClassifier.predict(MAILS, List.of(fused, spam, fused));
            for (int i = 0; i < MAILS.size(); i++) {
                TextClassifier.Prediction alone =
                        TextClassifier.of(i == 1 ? spam : fused).predict(MAILS.get(i));
                assertThat(together.get(i).logits().get(0))
                        .isCloseTo(alone.logits().get(0), within(1e-4f));
            }
        }
    }

    @Test
    void wrongRunFilesAreNamed() throws Exception {
        Map<String, Path> experts =
                FusionExpertsOf.model(Fixtures.TINY_BERT, HeadKind.SEQUENCE, BottleneckConfig.seqBn());
        String mails = String.valueOf(experts.get("mails"));
        isRefused("{type: fusion}", "adapters must name at least one bottleneck adapter");
        isRefused("{type: fusion, adapters: {a: %s/nothing}}".formatted(mails), "adapters: 'a': ");
        isRefused("{type: fusion, adapters: {a: %s, a: %s}}".formatted(mails, mails), "'a'");
        isRefused("{type: fusion, value: false, adapters: {a: %s}}".formatted(mails), "regularization must be false");
        isRefused("{type: fusion, residual_before: true, adapters: {a: %s}}".formatted(mails), "residual_before");
        isRefused("{type: fusion, temperature: true, adapters: {a: %s}}".formatted(mails), "temperature");
        isRefused("{type: fusion, dropout_prob: 0.1, adapters: {a: %s}}".formatted(mails), "dropout");
        isRefused("{type: fusion, config: full, adapters: {a: %s}}".formatted(mails), "dynamic");
        assertThat(dir.resolve("refused")).doesNotExist();
        Path copy = Files.createDirectories(dir.resolve("foreign"));
        for (String name : List.of(AdapterFiles.CONFIG, AdapterFiles.TENSORS)) {
            Files.copy(experts.get("mails").resolve(name), copy.resolve(name));
        }
        new AdapterSettings(
                        SequenceClassificationConfig.builder().labels("0", "1").build(), "ab".repeat(32))
                .write(copy);
        isRefused("{type: fusion, adapters: {a: %s}}".formatted(copy), "method.adapters: " + copy);
    }

    private void isRefused(String method, String message) {
        assertThatThrownBy(() -> Trainer.train(config(two(), method, "refused")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }
}
