package org.peft4j.readme;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.BaseModel;
import org.peft4j.Composition;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextClassifier;
import org.peft4j.Trainer;
import org.peft4j.config.RunConfig;
import org.peft4j.readme.MethodPages.Yaml;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunResult;
import org.peft4j.run.files.AdapterSettings;

/** The run files of MAD-X that the page on composing adapters shows, for two steps, and what it does with their adapters. */
class MadXRunsTest {
    @TempDir
    Path directory;

    @Test
    void bothRun() throws Exception {
        List<String> files = MethodPages.yaml(MethodPages.PAGES.resolve("composing.md")).stream()
                .filter(block -> block.file() != null)
                .map(Yaml::file)
                .toList();
        assertThat(files).containsExactly("madx-language", "madx-task");
        List<RunConfig> runs = new ArrayList<>();
        for (String file : files) {
            RunConfig written = read(file, List.of());
            List<String> settings = new ArrayList<>(List.of(
                    "training.max_steps=2",
                    "training.batch_size=2",
                    "data.validation=null",
                    "output=" + directory.resolve(written.output())));
            if (!runs.isEmpty()) {
                assertThat(written.frozenAdapters())
                        .as("the first one's output")
                        .containsExactly(read(files.get(0), List.of()).output());
                settings.add("frozen_adapters=[" + runs.get(0).output() + "]");
            }
            runs.add(read(file, settings));
        }
        for (RunConfig run : runs) {
            assertThat(Trainer.train(run).status()).isEqualTo(RunResult.Status.FINISHED);
        }
        RunConfig task = runs.get(1);
        assertThat(AdapterSettings.read(task.output()).orElseThrow().under()).hasSize(1);
        try (BaseModel base = BaseModel.open(task.model().path())) {
            LoadedAdapter alone = base.load("task", task.output());
            assertThat(alone.notes())
                    .anyMatch(note -> note.startsWith("the adapter was trained on top of the frozen adapter "));
            Map<String, LoadedAdapter> adapters =
                    Map.of("lang", base.load("lang", runs.get(0).output()), "task", alone);
            LoadedAdapter stack = base.compose("mails", Composition.parse("Stack(lang, task)"), adapters);
            assertThat(TextClassifier.of(stack).predict("Dinner at eight?").label())
                    .isIn("ham", "spam");
        }
    }

    private static RunConfig read(String file, List<String> settings) {
        return RunConfigFile.read(MethodPages.RUN_FILES.resolve(file + ".yaml"), settings);
    }
}
