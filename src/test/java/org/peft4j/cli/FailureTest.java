package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.error.TrainingException;

class FailureTest {
    private static final int RUNNING = 1;
    private static final int CALL = 2;

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    private String report(Throwable failure, int status) {
        PrintStream err = new PrintStream(bytes, true, StandardCharsets.UTF_8);
        assertThat(Failure.report(failure, err, false)).isEqualTo(status);
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void wrongSettingIsTold() {
        assertThat(report(new ConfigException("r must be at least 1, got 0"), CALL))
                .isEqualTo("peft4j: r must be at least 1, got 0\n");
    }

    @Test
    void badFileIsTold() {
        assertThat(report(new MalformedFileException(Path.of("a.jsonl"), 3, "no JSON"), CALL))
                .isEqualTo("peft4j: a.jsonl: no JSON (offset 3)\n");
    }

    @Test
    void failureOfAFileIsToldAlsoFromInsideAStream() {
        Exception failure = new UncheckedIOException(new NoSuchFileException("a.yaml"));

        assertThat(report(failure, CALL)).isEqualTo("peft4j: a.yaml: no such file or directory\n");
    }

    @Test
    void missingFileIsNoBareName() {
        assertThat(report(new NoSuchFileException("a.yaml"), CALL))
                .isEqualTo("peft4j: a.yaml: no such file or directory\n");
    }

    @Test
    void missingFileWithAReasonKeepsIt() {
        assertThat(report(new NoSuchFileException("a.json", null, "no tokenizer"), CALL))
                .isEqualTo("peft4j: a.json: no tokenizer\n");
    }

    @Test
    void forbiddenFileIsTold() {
        assertThat(report(new AccessDeniedException("a.yaml"), CALL)).isEqualTo("peft4j: a.yaml: permission denied\n");
    }

    @Test
    void fullDiskIsAFailureWhileRunning() {
        assertThat(report(new IOException("x could not be written: No space left on device"), RUNNING))
                .isEqualTo("peft4j: x could not be written: No space left on device\n");
    }

    @Test
    void lossThatIsNotFiniteIsAFailureWhileRunning() {
        assertThat(report(new TrainingException("loss is not finite at step 8"), RUNNING))
                .isEqualTo("peft4j: loss is not finite at step 8\n");
    }

    @Test
    void interruptedWritingIsAnInterruption() {
        assertThat(Failure.status(new ClosedByInterruptException())).isEqualTo(130);
    }

    @Test
    void ourOwnBugSaysSo() {
        assertThat(report(new NullPointerException(), RUNNING))
                .startsWith("peft4j: internal error: ")
                .contains("--stacktrace");
    }

    @Test
    void outOfMemoryIsToldWithAdvice() {
        assertThat(report(new OutOfMemoryError("Java heap space"), RUNNING))
                .startsWith("peft4j: out of memory: Java heap space")
                .contains("PEFT4J_JAVA_OPTS=-Xmx", "batch_size");
    }

    @Test
    void missingNativesAreToldOnce() {
        assertThat(report(new UnsatisfiedLinkError("peft4j: no native libraries for x"), RUNNING))
                .isEqualTo("peft4j: no native libraries for x\n");
    }
}
