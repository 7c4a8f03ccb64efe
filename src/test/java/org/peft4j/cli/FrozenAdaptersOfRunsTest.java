package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;

/** A run on top of another adapter from the command line, and what who uses its adapter is told. */
class FrozenAdaptersOfRunsTest {
    @TempDir
    Path directory;

    @Test
    void theyAreASettingOfTheRun() throws Exception {
        Path run = Cli.runFile(directory);
        Path under = directory.resolve("under");
        assertThat(Cli.run("train", "--config", run, "--set", "output=" + under, "--set", "training.max_steps=1"))
                .satisfies(done -> assertThat(done.status()).as(done.err()).isZero());

        Cli.Result missing = Cli.run("train", "--config", run, "--set", "frozen_adapters=[" + under + "/x]");
        assertThat(missing.status()).isEqualTo(2);
        assertThat(missing.err()).contains("frozen_adapters: " + under + "/x: ");
        assertThat(directory.resolve("run")).doesNotExist();

        Cli.Result done = Cli.run(
                "train",
                "--config",
                run,
                "--set",
                "frozen_adapters=[" + under + "]",
                "--set",
                "method.targets=[key]",
                "--set",
                "training.max_steps=1");
        assertThat(done.status()).as(done.err()).isZero();
        assertThat(done.out()).contains("frozen_adapters").contains("what it has for its head");
        assertThat(Files.readString(directory.resolve("run/run.json"))).contains("\"frozen_adapters\"");

        Cli.Result used = Cli.run(
                "evaluate", "--model", Fixtures.TINY_BERT, "--adapter", directory.resolve("run"), "--data", Cli.ROWS);
        assertThat(used.status()).as(used.err()).isZero();
        assertThat(used.err()).contains("the adapter was trained on top of the frozen adapter " + under);
    }
}
