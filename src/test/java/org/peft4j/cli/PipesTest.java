package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;

/** Rows from the standard input, predictions to the standard output. */
class PipesTest {
    private static final String ROWS = """
            {"text": "a", "label": "ham", "score": NaN, "cut": "\\ud83d"}
            {"text": "b", "label": "spam", "score": [-Infinity]}
            """;

    @TempDir
    Path temporary;

    @Test
    void predictReadsStandardInputAndWritesWhatJsonCanExpress() {
        for (String[] way : new String[][] {{"-", "-"}, {"/dev/stdin", "/dev/stdout"}}) {
            Cli.Result result =
                    Cli.piped(ROWS, "predict", "--model", Fixtures.TINY_BERT, "--data", way[0], "--out", way[1]);

            assertThat(result.status()).as(result.err()).isZero();
            assertThat(result.out().lines()).hasSize(2);
            assertThat(result.out())
                    .contains("\"score\":null,\"cut\":\"\\ud83d\"", "\"score\":[null]")
                    .doesNotContain("NaN", "?");
        }
    }

    @Test
    void evaluateReadsStandardInput() {
        Cli.Result result = Cli.piped(
                "label,text\nham,a\nspam,b\n",
                "evaluate",
                "--model",
                Fixtures.TINY_BERT,
                "--adapter",
                Fixtures.ADAPTERS.resolve("lora-query-value"),
                "--labels",
                "ham,spam",
                "--data",
                "-");

        assertThat(result.status()).as(result.err()).isZero();
        assertThat(result.out()).contains("\"accuracy\"");
    }

    @Test
    void badRowOfStandardInputIsCalledSo() {
        Cli.Result result =
                Cli.piped("{\"txt\": 1}\n", "predict", "--model", Fixtures.TINY_BERT, "--data", "-", "--out", "-");

        assertThat(result.status()).isEqualTo(2);
        assertThat(result.err()).contains("standard input: line 1: no column 'text'");
        assertThat(result.out()).isEmpty();
    }

    @Test
    void pathThatIsNoneAndControlCharactersAreToldPlainly() {
        Cli.Result result =
                Cli.run("predict", "--model", Fixtures.TINY_BERT, "--data", "a\0b", "--out", temporary.resolve("o"));
        assertThat(result.status()).isEqualTo(2);
        assertThat(result.err()).contains("--data", "'a\\u0000b' is no path").doesNotContain("java.", "Exception");

        assertThat(Cli.run("methods", "--model", "a\u001b[31m").err())
                .contains("a\\u001b[31m")
                .doesNotContain("\u001b");
    }

    @Test
    void settingIsTakenBackByNull() throws Exception {
        Path config = Cli.runFile(temporary);
        Cli.Result result = Cli.run("train", "--config", config, "--set", "data.train=null");

        assertThat(result.status()).isEqualTo(2);
        assertThat(result.err())
                .contains("'train' in data has no default, so it has to be given (--set data.train=null)");
    }
}
