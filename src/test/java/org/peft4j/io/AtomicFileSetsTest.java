package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.MalformedFileException;

/** Killing at each point is tested by KilledSaveTest; this is about what others do to a directory where a set waits. */
class AtomicFileSetsTest {
    @TempDir
    Path directory;

    private Path waiting() throws IOException {
        Path set = Files.createDirectory(directory.resolve(AtomicFileSets.COMPLETE));
        Files.writeString(set.resolve("a"), "new");
        return set;
    }

    @Test
    void setThatWaitsCountsBesideOlderFilesAndItsOwn() throws IOException {
        Path set = waiting();
        assertThat(AtomicFileSets.current(directory)).isEqualTo(set);

        Path placed = Files.writeString(directory.resolve("a"), "old");
        Files.setLastModifiedTime(placed, FileTime.fromMillis(1_000_000));
        assertThat(AtomicFileSets.current(directory)).isEqualTo(set);

        Files.delete(placed);
        Files.createLink(placed, set.resolve("a"));
        assertThat(AtomicFileSets.current(directory)).isEqualTo(set);
    }

    @Test
    void newerFilesOfSomethingElseAreNeitherPassedOverNorReplaced() throws IOException {
        Path set = waiting();
        Path placed = Files.writeString(directory.resolve("a"), "somebody's");
        Files.setLastModifiedTime(
                placed,
                FileTime.fromMillis(Files.getLastModifiedTime(set.resolve("a")).toMillis() + 1000));

        assertThatThrownBy(() -> AtomicFileSets.current(directory))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll("it has a twice", AtomicFileSets.COMPLETE, "newer", "delete");
        assertThatThrownBy(() -> AtomicFileSets.settle(directory, complete -> List.of(placed), "a"))
                .isInstanceOf(MalformedFileException.class);
        assertThat(placed).hasContent("somebody's");
    }
}
