package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.MalformedFileException;

class AtomicFilesTest {
    @TempDir
    Path dir;

    @Test
    void replacesTheFileAndLeavesNothingElse() throws IOException {
        Path target = Files.writeString(dir.resolve("a.json"), "a former and longer content");
        AtomicFiles.writeString(target, "new é");
        assertThat(target).hasContent("new é");
        assertThat(dir).isDirectoryContaining(file -> file.equals(target));
        assertThat(dir.toFile().list()).hasSize(1);
    }

    @Test
    void aFullDiskMidwayLeavesTheFormerFile() throws IOException {
        Path target = Files.writeString(dir.resolve("a.bin"), "former");
        assertThatThrownBy(() -> AtomicFiles.write(target, out -> {
                    out.write(ByteBuffer.allocate(100_000));
                    throw new IOException("No space left on device");
                }))
                .isExactlyInstanceOf(IOException.class)
                .hasMessage(
                        target + " could not be written (nothing at this path was changed): No space left on device")
                .hasRootCauseMessage("No space left on device");
        assertThat(target).hasContent("former");
        assertThat(dir.toFile().list()).containsExactly("a.bin");
    }

    @Test
    void aDeviceThatIsReallyFullIsReported() throws IOException {
        Path full = Path.of("/dev/full");
        assumeTrue(Files.isWritable(full), "this system has no /dev/full");
        Path target = Files.writeString(dir.resolve("a.bin"), "former");
        assertThatThrownBy(() -> AtomicFiles.write(target, out -> {
                    out.write(ByteBuffer.allocate(10));
                    try (FileChannel device = FileChannel.open(full, StandardOpenOption.WRITE)) {
                        device.write(ByteBuffer.allocate(10)); // the kernel's own ENOSPC
                    }
                }))
                .isInstanceOf(IOException.class)
                .hasMessageContaining(target.toString())
                .hasMessageContaining("No space left on device");
        assertThat(target).hasContent("former");
        assertThat(dir.toFile().list()).containsExactly("a.bin");
    }

    @Test
    void whatTheWriterThrowsComesOutAndNothingStays() throws IOException {
        Path target = dir.resolve("a.bin");
        assertThatThrownBy(() -> AtomicFiles.write(target, out -> {
                    throw new OutOfMemoryError("simulated");
                }))
                .isInstanceOf(OutOfMemoryError.class);
        MalformedFileException malformed = new MalformedFileException(Path.of("source"), 3, "is broken");
        assertThatThrownBy(() -> AtomicFiles.write(target, out -> {
                    throw malformed;
                }))
                .isSameAs(malformed);
        assertThat(dir).isEmptyDirectory();
    }

    @Test
    void replacesALinkAndNotTheFileItPointsTo() throws IOException {
        Path cached = Files.writeString(dir.resolve("cached"), "shared");
        Path link = Files.createSymbolicLink(dir.resolve("link"), cached);
        AtomicFiles.writeString(link, "own");
        assertThat(cached).hasContent("shared");
        assertThat(Files.isSymbolicLink(link)).isFalse();
        assertThat(link).hasContent("own");
    }

    @Test
    void aReaderThatHasTheFormerFileOpenKeepsIt() throws IOException {
        Path target = Files.writeString(dir.resolve("a"), "former");
        try (FileChannel former = FileChannel.open(target)) {
            AtomicFiles.writeString(target, "newer!");
            ByteBuffer bytes = ByteBuffer.allocate(6);
            former.read(bytes);
            assertThat(new String(bytes.array(), StandardCharsets.US_ASCII)).isEqualTo("former");
        }
    }

    @Test
    void newFilesHaveTheUsualPermissions() throws IOException {
        assumeTrue(dir.getFileSystem().supportedFileAttributeViews().contains("posix"), "not a POSIX system");
        Path usual = Files.writeString(dir.resolve("usual"), "");
        Path target = dir.resolve("a");
        AtomicFiles.writeString(target, "");
        assertThat(Files.getPosixFilePermissions(target))
                .contains(PosixFilePermission.OWNER_READ)
                .isEqualTo(Files.getPosixFilePermissions(usual));
    }

    @Test
    void aMissingDirectoryIsNamed() {
        Path target = dir.resolve("none/a");
        assertThatThrownBy(() -> AtomicFiles.writeString(target, ""))
                .isInstanceOf(IOException.class)
                .hasMessageContaining(target.toString());
    }
}
