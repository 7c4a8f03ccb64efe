package org.peft4j.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.ConfigException;

/** Which directories native libraries may be loaded from. The system's own directory of temporary files is above these. */
class NativeCacheTest {
    @TempDir
    Path directory;

    private Path home;
    private Path temporary;
    private long me;

    @BeforeEach
    void make() throws IOException {
        home = Files.createDirectory(directory.resolve("home"));
        temporary = directory("tmp", "rwxrwxrwx");
        Files.setAttribute(temporary, "unix:mode", 01777);
        me = ((Number) Files.getAttribute(home, "unix:uid")).longValue();
    }

    private Path directory(String name, String mode) throws IOException {
        Path made = Files.createDirectory(directory.resolve(name));
        return Files.setPosixFilePermissions(made, PosixFilePermissions.fromString(mode));
    }

    @Test
    void liesInTheHomeDirectoryForThisUserAlone() throws IOException {
        Path chosen = NativeCache.choose(List.of(home), temporary, me);

        assertThat(chosen).isEqualTo(home.resolve(".cache/peft4j"));
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(chosen)))
                .isEqualTo("rwx------");
        assertThat(NativeCache.choose(List.of(home), temporary, me)).isEqualTo(chosen);
    }

    @Test
    void aHomeThatIsNotThereIsNotMade() {
        Path missing = directory.resolve("nobody");

        assertThat(NativeCache.choose(List.of(missing, home), temporary, me)).startsWith(home);
        assertThat(NativeCache.choose(List.of(missing), temporary, me)).isEqualTo(temporary.resolve("peft4j-" + me));
        assertThat(missing).doesNotExist();
    }

    /** As root with HOME of somebody else: who owns a home can exchange what lies in it. */
    @Test
    void anothersHomeIsNotUsed() {
        assertThat(NativeCache.choose(List.of(home), temporary, me + 1).getParent())
                .isEqualTo(temporary);
    }

    @Test
    void whatAnotherCouldHavePreparedIsNotUsed() throws IOException {
        Path prepared = Files.createDirectory(temporary.resolve("peft4j-" + me));
        Files.setPosixFilePermissions(prepared, PosixFilePermissions.fromString("rwxrwxrwx"));

        Path chosen = NativeCache.choose(List.of(), temporary, me);

        assertThat(chosen).isNotEqualTo(prepared).hasParent(temporary);
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(chosen)))
                .isEqualTo("rwx------");
    }

    @Test
    void aLinkThatAnotherCouldTurnIsNotFollowed() throws IOException {
        Path link = Files.createSymbolicLink(temporary.resolve("peft4j-" + me), directory("own", "rwx------"));

        assertThat(NativeCache.choose(List.of(), temporary, me)).isNotEqualTo(link);
    }

    @Test
    void whatWasAskedForIsMadeAndUsed() throws IOException {
        Path asked = directory.resolve("a/b");

        assertThat(NativeCache.asked(asked.toString(), "PEFT4J_CACHE", me)).isEqualTo(asked);
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(asked)))
                .isEqualTo("rwx------");
    }

    @Test
    void whatWasAskedForAndIsNotPrivateIsRefusedWithTheReason() throws IOException {
        Path shared = directory("shared", "rwxrwxrwx");

        assertThatThrownBy(() -> NativeCache.asked(shared.toString(), "PEFT4J_CACHE", me))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("PEFT4J_CACHE", shared.toString(), "can be written by others", "chmod 700");
        assertThatThrownBy(() -> NativeCache.asked(home.toString(), "peft4j.cache", me + 1))
                .hasMessageContainingAll("peft4j.cache", "belongs to user " + me);
        assertThatThrownBy(() -> NativeCache.asked(shared.resolve("mine").toString(), "PEFT4J_CACHE", me))
                .hasMessageContainingAll("lies in " + shared, "everybody can write");
    }

    @Test
    void aFileInItsPlaceIsRefused() throws IOException {
        Path file = Files.writeString(directory.resolve("file"), "");

        assertThatThrownBy(() -> NativeCache.asked(file.toString(), "PEFT4J_CACHE", me))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("PEFT4J_CACHE: " + file, "is a file");
    }
}
