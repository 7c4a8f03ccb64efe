package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicDirectoriesTest {
    @TempDir
    Path dir;

    @Test
    void makesTheDirectoryAndThoseAboveIt() throws IOException {
        Path target = dir.resolve("a/b/model");
        AtomicDirectories.write(target, false, d -> {
            Files.createDirectory(d.resolve("sub"));
            Files.writeString(d.resolve("sub/file"), "x");
        });
        assertThat(target.resolve("sub/file")).hasContent("x");
        assertThat(target.getParent().toFile().list()).containsExactly("model");
    }

    @Test
    void fillsAnEmptyDirectory() throws IOException {
        Path target = Files.createDirectory(dir.resolve("model"));
        AtomicDirectories.write(target, false, d -> Files.writeString(d.resolve("file"), "x"));
        assertThat(target.resolve("file")).hasContent("x");
    }

    @Test
    void replacesOnlyWhenTold() throws IOException {
        Path target = Files.createDirectory(dir.resolve("model"));
        Files.writeString(target.resolve("former"), "x");
        assertThatThrownBy(() -> AtomicDirectories.write(target, false, d -> {}))
                .isInstanceOf(FileAlreadyExistsException.class)
                .hasMessageContaining(target.toString());

        AtomicDirectories.write(target, true, d -> Files.writeString(d.resolve("newer"), "y"));

        assertThat(target.toFile().list()).containsExactly("newer");
        assertThat(dir.toFile().list()).containsExactly("model");
    }

    @Test
    void aFailureLeavesTheFormerDirectory() throws IOException {
        Path target = Files.createDirectory(dir.resolve("model"));
        Files.writeString(target.resolve("former"), "x");
        assertThatThrownBy(() -> AtomicDirectories.write(target, true, d -> {
                    Files.writeString(d.resolve("half"), "y");
                    throw new IOException("No space left on device");
                }))
                .hasMessage(
                        target + " could not be written (nothing at this path was changed): No space left on device");
        assertThat(target.toFile().list()).containsExactly("former");
        assertThat(dir.toFile().list()).containsExactly("model");
    }

    @Test
    void doesNotDeleteThroughLinks() throws IOException {
        Path precious = Files.createDirectory(dir.resolve("precious"));
        Files.writeString(precious.resolve("file"), "x");
        Path target = Files.createDirectory(dir.resolve("model"));
        Files.createSymbolicLink(target.resolve("link"), precious);
        AtomicDirectories.write(target, true, d -> {});
        assertThat(precious.resolve("file")).hasContent("x");
    }
}
