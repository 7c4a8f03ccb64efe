package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.BaseModel;
import org.peft4j.Combine;
import org.peft4j.Convert;
import org.peft4j.Fixtures;
import org.peft4j.LoadedAdapter;
import org.peft4j.Merge;
import org.peft4j.TextClassifier;
import org.peft4j.TextGenerator;
import org.peft4j.Trainer;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.generate.Answers;
import org.peft4j.generate.BeamSearch;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.xlora.XLoraConfig;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunSummary;
import org.peft4j.run.TrainListener;
import org.peft4j.run.files.AdapterSettings;

/** X-LoRA from a run file to a directory that generates, and the folders in it. */
class XLoraRunTest {
    @TempDir
    Path dir;

    private final Map<String, Path> experts =
            XLoraExperts.of(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE, "q_proj", "down_proj", 0);

    private RunConfig config(String method, Path first) throws Exception {
        Path rows = dir.resolve("rows.jsonl");
        Files.write(
                rows,
                IntStream.range(0, 4)
                        .mapToObj(i -> "{\"text\": \"you have a mail " + i + "\"}")
                        .toList());
        Path file = Files.writeString(dir.resolve("run.yaml"), """
                model: %s
                data: {train: %s}
                task: {type: causal-lm, max_length: 16}
                method: {type: xlora, adapters: {mails: %s, others: %s}, %s}
                training: {epochs: 1, batch_size: 2, checkpointing: block, optimizer: {learning_rate: 0.01}}
                output: %s
                """.formatted(
                        Fixtures.TINY_LLAMA, rows, first, experts.get("others"), method, dir.resolve("out")));
        return RunConfigFile.read(file, List.of());
    }

    @Test
    void aRunFileTrainsAnAdapterThatGeneratesAndIsReplacedAsAWhole() throws Exception {
        Path out = dir.resolve("out");
        RunConfig config = config(
                "depth: 2, size: 6, dropout: 0, layerwise_scalings: true, top_k: 1, softmax_temperature: 2",
                experts.get("mails"));
        XLoraConfig method = (XLoraConfig) config.method();
        assertThat(method.topK()).isEqualTo(1);
        assertThat(RunConfigFile.of(RunConfigFile.toMap(config), "again", List.of()))
                .isEqualTo(config);
        Trainer.train(config);
        assertThat(AdapterFiles.read(out).inside()).hasSize(2);
        assertThat(AdapterFiles.foldersInside(out)).containsExactly(out.resolve("0"), out.resolve("1"));
        String first;
        try (TextGenerator generator = TextGenerator.open(Fixtures.TINY_LLAMA, out)) {
            first = generator.generate("you have");
        }
        assertThatThrownBy(() -> Trainer.train(config))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("holds another run");

        Files.writeString(out.resolve("1/notes.txt"), "goes with the folder");
        Trainer.train(config("depth: 1, enable_softmax: false", experts.get("mails")), true, new TrainListener() {});
        assertThat(out.resolve("1/notes.txt")).doesNotExist();
        assertThat(AdapterFiles.read(out).inside()).hasSize(2);
        assertThat(first).isNotNull();

        assertThatThrownBy(() -> Merge.merge(Fixtures.TINY_LLAMA, out, dir.resolve("merged"), false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("a xlora adapter cannot be merged: each token has weights of its own");
        assertThatThrownBy(() -> Convert.toLora(Fixtures.TINY_LLAMA, out, dir.resolve("lora"), 4, false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("cannot be merged");
        assertThatThrownBy(() -> Combine.adapters().add(out, 0.5).add(out, 0.5).write(dir.resolve("both"), false))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("this is XLORA, and no update of weights: each token has weights of its own");
    }

    /** A new head is trained with the classifier, and texts of several adapters are read in one pass. */
    @Test
    void textsAreClassifiedBesideThoseOfOtherAdapters() throws Exception {
        XLoraConfig method = XLoraConfig.builder()
                .adapters(XLoraExperts.of(Fixtures.TINY_BERT, HeadKind.SEQUENCE, "query", "output.dense", 0))
                .build();
        Path rows = Fixtures.ROOT.resolve("loss-parity/tiny/rows.jsonl");
        Path out = dir.resolve("out");
        Trainer.train(RunConfig.builder()
                .model(Fixtures.TINY_BERT)
                .task(SequenceClassificationConfig.builder()
                        .labels("ham", "spam")
                        .maxLength(32)
                        .build())
                .data(new DataConfig(rows, null))
                .method(method)
                .training(TrainingConfig.builder().batchSize(20).build())
                .output(out)
                .build());
        List<String> mails = List.of("you have a mail", "win a prize now", "see you");
        try (BaseModel base = BaseModel.open(Fixtures.TINY_BERT);
                LoadedAdapter mixed = base.load("mixed", out);
                LoadedAdapter again = base.load("again", out)) {
            List<TextClassifier.Prediction> together = TextClassifier.predict(mails, List.of(mixed, again, mixed));
            for (int i = 0; i < mails.size(); i++) {
                TextClassifier.Prediction alone = TextClassifier.of(mixed).predict(mails.get(i));
                assertThat(together.get(i).label()).isEqualTo(alone.label());
                assertThat(together.get(i).logits().get(0))
                        .isCloseTo(alone.logits().get(0), within(1e-4f));
            }
        }
    }

    /** Several answers of a prompt begin with one reading of it, and go on by themselves. */
    @Test
    void answersOfASearchAreThoseOfWholeTexts() throws Exception {
        XLoraConfig config = XLoraConfig.builder().adapters(experts).build();
        try (HeadedModel model = HeadedModel.open(
                        ModelDirectory.open(Fixtures.TINY_LLAMA),
                        new ModelOptions(false, false, 0),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
                Adapter mixed = Methods.of(config).attach("mixed", config, model.points(), 3)) {
            Generator generator = new Generator(model.model(), (LanguageHead) model.head());
            int[] prompt = {5, 49, 40, 8};
            List<Generated> found = generator
                    .answers(
                            List.of(new Prompt(prompt, mixed, 0)),
                            new GenerationSettings(
                                    5, Sampling.GREEDY, new Answers(3, BeamSearch.of(3)), List.of(), List.of(), true),
                            null,
                            GenerationListener.NONE)
                    .get(0);
            for (Generated one : found) {
                int[] whole = IntStream.concat(Arrays.stream(prompt), Arrays.stream(one.ids()))
                        .toArray();
                double expected = generator
                        .score(List.of(new Generator.Scored(whole, prompt.length, mixed)))
                        .get(0)
                        .logProb();
                assertThat(Arrays.stream(Objects.requireNonNull(one.logProbs())).sum())
                        .isCloseTo(expected, within(1e-4));
            }
        }
    }

    @Test
    void somebodysFoldersAreLeftAlone() throws Exception {
        Path mine = Files.createDirectories(dir.resolve("out/1")).resolve("mine.txt");
        Files.writeString(mine, "precious");
        assertThatThrownBy(() -> Trainer.train(config("depth: 1", experts.get("mails"))))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("output: ", "has a folder 1", "choose another directory");
        assertThat(mine).hasContent("precious");
        assertThat(dir.resolve("out/run.json")).doesNotExist();
    }

    @Test
    void anExpertOfAnotherBaseIsRefused() throws Exception {
        Path copy = Files.createDirectories(dir.resolve("foreign"));
        for (String name : List.of(AdapterFiles.CONFIG, AdapterFiles.TENSORS)) {
            Files.copy(experts.get("mails").resolve(name), copy.resolve(name));
        }
        new AdapterSettings(CausalLmConfig.defaults(), "ab".repeat(32)).write(copy);
        assertThatThrownBy(() -> Trainer.train(config("depth: 1", copy)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll(
                        "method.adapters: " + copy, "another base model", "adapters of the model that mixes");
    }

    @Test
    void aRunTellsWhatIsOddOfAnExpert() throws Exception {
        Path copy = Files.createDirectories(dir.resolve("odd"));
        Files.copy(experts.get("mails").resolve(AdapterFiles.TENSORS), copy.resolve(AdapterFiles.TENSORS));
        String config = Files.readString(experts.get("mails").resolve(AdapterFiles.CONFIG));
        Files.writeString(copy.resolve(AdapterFiles.CONFIG), config.replaceFirst("\"r\": *\\d+", "\"r\": 77"));
        List<String> notes = new ArrayList<>();
        Trainer.train(config("depth: 1", copy), false, new TrainListener() {
            @Override
            public void started(RunSummary summary) {
                notes.addAll(summary.notes());
            }
        });
        assertThat(notes)
                .anyMatch(note -> note.startsWith("adapter '") && note.contains("the adapter's config says 77"));
    }

    @Test
    void wrongSettingsOfARunFileAreNamed() throws Exception {
        assertThatThrownBy(() -> config("xlora_depth: 2", experts.get("mails")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("depth");
        assertThatThrownBy(() -> config("top_k: 3", experts.get("mails")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("top_k must be at most 2");
        assertThatThrownBy(() -> Trainer.train(config("size: 7", experts.get("mails"))))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("size must be left out with depth 1");
    }
}
