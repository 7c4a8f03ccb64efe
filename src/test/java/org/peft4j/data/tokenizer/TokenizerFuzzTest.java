package org.peft4j.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** 2,000 damaged files, the same ones each time; {@code build-scripts/fuzz-tokenizers.sh} tries more. */
class TokenizerFuzzTest {
    @TempDir
    Path directory;

    @Test
    void noFileEndsTheProcess() throws Exception {
        Process child = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Xmx1g",
                        "-cp",
                        System.getProperty("java.class.path"),
                        TokenizerFuzz.class.getName(),
                        "1",
                        "2000",
                        directory.toString())
                .redirectErrorStream(true)
                .redirectOutput(directory.resolve("output").toFile())
                .start();
        try {
            assertThat(child.waitFor(600, TimeUnit.SECONDS)).as("ends in time").isTrue();
            assertThat(child.exitValue())
                    .as(() -> "exit status; the end of its output: " + tail())
                    .isZero();
            assertThat(tail()).as("some open, or nothing was tried").matches("(?s).*opened [1-9][0-9]{2,} of 2000\\s*");
        } finally {
            child.destroyForcibly();
        }
    }

    private String tail() {
        try {
            String output = java.nio.file.Files.readString(directory.resolve("output"));
            return output.substring(Math.max(0, output.length() - 4000));
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
