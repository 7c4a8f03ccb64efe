package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.MalformedFileException;

/** Whoever gives the directory around a model or adapter is told where it is. */
class SubfoldersTest {
    @TempDir
    Path dir;

    private void put(String folder, String file) throws IOException {
        Files.createDirectories(dir.resolve(folder));
        Files.writeString(dir.resolve(folder).resolve(file), "{}");
    }

    @Test
    void namesModelsAndAdaptersDownToTheSecondLevel() throws IOException {
        assertThat(Subfolders.hint(dir)).isEmpty();
        put("0_Transformer", "config.json");
        put("snapshots/0a1b", "config.json");
        put("reviews", "adapter_config.json");
        put("1_Pooling", "other.json");
        put("much/too/deep", "config.json");
        assertThat(Subfolders.hint(dir))
                .isEqualTo("; a model is in its subfolder 0_Transformer/ and snapshots/0a1b/: give that"
                        + "; an adapter is in its subfolder reviews/: give that");
        for (int i = 0; i < 5; i++) {
            put("checkpoint-" + i, "adapter_config.json");
        }
        assertThat(Subfolders.hint(dir))
                .contains("checkpoint-0/ and checkpoint-1/ and checkpoint-2/ and others: give that");
    }

    @Test
    void aCircleOfLinksEnds() throws IOException {
        Files.createSymbolicLink(dir.resolve("again"), dir);
        put("reviews", "adapter_config.json");
        assertThat(Subfolders.hint(dir)).contains("reviews/");
        Files.createSymbolicLink(dir.resolve("self"), dir.resolve("self"));
        assertThatThrownBy(() -> ModelDirectory.open(dir.resolve("self")))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageEndingWith("this is a link that leads nowhere");
        assertThatThrownBy(() -> AdapterFiles.read(dir.resolve("self")))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageEndingWith("this is a link that leads nowhere");
    }

    @Test
    void messagesOfModelsAndAdaptersHaveIt() throws IOException {
        put("best", "adapter_config.json");
        put("0_Transformer", "config.json");
        assertThatThrownBy(() -> AdapterFiles.read(dir)).hasMessageContaining("an adapter is in its subfolder best/");
        assertThatThrownBy(() -> ModelDirectory.open(dir))
                .hasMessageContaining("lacks config.json; a model is in its subfolder 0_Transformer/");
        Files.writeString(dir.resolve("config.json"), "{\"model_type\": \"bert\"}");
        assertThatThrownBy(() -> ModelDirectory.open(dir))
                .hasMessageContaining("lacks its weights")
                .hasMessageContaining("0_Transformer/");
        Files.delete(dir.resolve("config.json"));
        Files.createDirectory(dir.resolve("config.json"));
        assertThatThrownBy(() -> ModelDirectory.open(dir)).hasMessageContaining("config.json, which is a directory");
    }
}
