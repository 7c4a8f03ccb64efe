package org.peft4j.readme;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.TextClassifier;
import org.peft4j.Trainer;
import org.peft4j.config.RunConfig;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunResult;
import org.peft4j.run.files.AdapterSettings;

/** The README's run files of MAD-X, as they stand there, for two steps. */
class MadXRunsTest {
    @TempDir
    Path directory;

    @Test
    void bothRun() throws Exception {
        String readme = Files.readString(Path.of("README.md"));
        String section = readme.substring(readme.indexOf("### MAD-X"), readme.indexOf("### IAPT"));
        Matcher blocks = Pattern.compile("```yaml\n(.*?)```", Pattern.DOTALL).matcher(section);
        List<RunConfig> runs = new ArrayList<>();
        while (blocks.find()) {
            Path file = Files.writeString(
                    directory.resolve("run" + runs.size() + ".yaml"),
                    blocks.group(1).replace("runs/", directory + "/runs/"));
            runs.add(RunConfigFile.read(
                    file, List.of("training.max_steps=2", "training.batch_size=2", "data.validation=null")));
        }
        assertThat(runs).hasSize(2);
        for (RunConfig run : runs) {
            assertThat(Trainer.train(run).status()).isEqualTo(RunResult.Status.FINISHED);
        }
        RunConfig task = runs.get(1);
        assertThat(task.frozenAdapters()).containsExactly(runs.get(0).output());
        assertThat(AdapterSettings.read(task.output()).orElseThrow().under()).hasSize(1);
        try (TextClassifier alone = TextClassifier.open(task.model().path(), task.output())) {
            assertThat(alone.notes())
                    .anyMatch(note -> note.startsWith("the adapter was trained on top of the frozen adapter "));
        }
    }
}
