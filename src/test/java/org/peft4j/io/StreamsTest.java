package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.MalformedFileException;

@Timeout(60)
class StreamsTest {
    @TempDir
    Path temporary;

    @Test
    void waitingForAPipeThatNobodyWritesIntoCanBeInterrupted() throws Exception {
        Path pipe = fifo("silent");
        Thread waiting = Thread.currentThread();
        Thread interrupter = new Thread(() -> {
            try {
                Thread.sleep(200);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
            waiting.interrupt();
        });
        try (InputStream in = Streams.open(pipe)) {
            interrupter.start();
            assertThatThrownBy(in::read).isInstanceOf(InterruptedIOException.class);
            assertThat(Thread.interrupted()).as("the flag is restored").isTrue();
        }
        interrupter.join();
    }

    @Test
    void everyByteComesThroughInOrder() throws IOException {
        byte[] bytes = new byte[1_000_003];
        new Random(1).nextBytes(bytes);
        try (InputStream in = new InterruptibleInput(() -> new ByteArrayInputStream(bytes))) {
            assertThat(in.read()).isEqualTo(bytes[0] & 0xff);
            byte[] rest = in.readAllBytes();
            assertThat(rest).hasSize(bytes.length - 1).endsWith(bytes[bytes.length - 1]);
            assertThat(java.util.Arrays.mismatch(bytes, 1, bytes.length, rest, 0, rest.length))
                    .isEqualTo(-1);
            assertThat(in.read()).isEqualTo(-1);
        }
    }

    @Test
    void failureOfTheReadingThreadIsThrownToTheCaller() throws IOException {
        try (InputStream in = new InterruptibleInput(() -> {
            throw new IOException("gone");
        })) {
            assertThatThrownBy(in::read).isInstanceOf(IOException.class).hasMessage("gone");
        }
    }

    @Test
    void fileDoesNotTakeThePlaceOfAPipeOrDevice() throws Exception {
        Path pipe = fifo("pipe");
        assertThatThrownBy(() -> AtomicFiles.writeString(pipe, "x"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("a device or a pipe");
        assertThat(Files.isRegularFile(pipe, LinkOption.NOFOLLOW_LINKS)).isFalse();
        assertThatThrownBy(() -> AtomicFiles.writeString(Path.of("/dev/null"), "x"))
                .isInstanceOf(MalformedFileException.class);
        assertThatThrownBy(() -> AtomicFiles.writeString(temporary, "x"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("is a directory");
    }

    private Path fifo(String name) throws Exception {
        Path pipe = temporary.resolve(name);
        assertThat(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor())
                .isZero();
        return pipe;
    }
}
