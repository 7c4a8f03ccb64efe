package org.peft4j.run.files;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.ConfigException;

@Timeout(120)
class RunLockTest {
    @TempDir
    Path output;

    /** Holds the lock until it is killed. */
    static final class Holder {
        @SuppressWarnings("UnusedVariable")
        public static void main(String[] args) throws Exception {
            RunLock lock = RunLock.take(Path.of(args[0]));
            System.out.println("held");
            Thread.sleep(TimeUnit.MINUTES.toMillis(2));
        }
    }

    private Process holder() throws IOException {
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Holder.class.getName(),
                        output.toString())
                .redirectErrorStream(true)
                .start();
        BufferedReader out = process.inputReader();
        assertThat(out.readLine()).isEqualTo("held");
        return process;
    }

    @Test
    void anotherProcessIsNamedAndADeadOneDoesNotBlock() throws Exception {
        Process process = holder();
        try {
            assertThatThrownBy(() -> RunLock.check(output))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll(
                            output.toString(), "is being written by process " + process.pid() + " since 20", "wait");
            assertThatThrownBy(() -> RunLock.take(output))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("process " + process.pid());
        } finally {
            process.destroyForcibly().waitFor();
        }
        assertThat(output.resolve(RunLock.FILE)).as("what the killed one left").exists();
        RunLock.check(output);
        try (RunLock lock = RunLock.take(output)) {
            assertThat(lock).isNotNull();
            assertThat(output.resolve(RunLock.FILE))
                    .content()
                    .startsWith("process " + ProcessHandle.current().pid());
        }
        assertThat(output).isEmptyDirectory();
    }

    @Test
    void anotherRunOfThisProcessIsRefusedAlsoByAnotherName() throws Exception {
        Path link = Files.createSymbolicLink(output.resolve("link"), output);
        try (RunLock lock = RunLock.take(output)) {
            assertThat(lock).isNotNull();
            for (Path name : List.of(output, link, output.resolve("../" + output.getFileName()))) {
                assertThatThrownBy(() -> RunLock.check(name))
                        .isInstanceOf(ConfigException.class)
                        .hasMessageContaining("a run of this process, begun by thread '"
                                + Thread.currentThread().getName() + "'");
                assertThatThrownBy(() -> RunLock.take(name)).isInstanceOf(ConfigException.class);
            }
        }
        RunLock.take(output).close();
    }

    @Test
    void aCheckLeavesNothing() throws IOException {
        RunLock.check(output.resolve("not/there"));
        RunLock.check(output);
        assertThat(output).isEmptyDirectory();
    }

    @Test
    void closingTwiceDoesNothing() throws IOException {
        RunLock lock = RunLock.take(output);
        lock.close();
        try (RunLock next = RunLock.take(output)) {
            lock.close();
            assertThatThrownBy(() -> RunLock.take(output)).isInstanceOf(ConfigException.class);
            assertThat(next).isNotNull();
        }
        assertThatCode(() -> RunLock.check(output)).doesNotThrowAnyException();
    }

    @Test
    void oneOfManyThreadsHasIt() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger taken = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < 400; i++) {
            all.add(threads.submit(() -> {
                try (RunLock lock = RunLock.take(output)) {
                    assertThat(lock).isNotNull();
                    assertThat(inside.incrementAndGet()).isEqualTo(1);
                    taken.incrementAndGet();
                    inside.decrementAndGet();
                } catch (ConfigException e) {
                    // another one has it
                }
                return null;
            }));
        }
        threads.shutdown();
        for (Future<?> one : all) {
            one.get();
        }
        assertThat(taken.get()).isPositive();
    }
}
