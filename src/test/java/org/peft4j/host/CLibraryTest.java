package org.peft4j.host;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CLibraryTest {
    @TempDir
    Path directory;

    @Test
    void readsTheReleaseOfTheLibraryThatIsMapped() throws IOException {
        Path old = Files.writeString(
                directory.resolve("libc-2.31.so"),
                "\0GNU C Library (Debian GLIBC 2.31-13+deb11u3) stable release version 2.31.\nCopyright\0");

        assertThat(CLibrary.of(List.of("/usr/bin/java", old.toString()))).contains("glibc 2.31");
        assertThat(CLibrary.of(List.of("/lib/ld-musl-x86_64.so.1"))).contains("musl");
        assertThat(CLibrary.of(List.of("/usr/bin/java"))).isEmpty();
    }

    @Test
    void knowsTheOneOfThisProcess() {
        assertThat(CLibrary.here()).hasValueSatisfying(here -> {
            assertThat(here).matches("glibc 2\\.\\d+");
            assertThat(CLibrary.unfit(here)).isFalse();
        });
    }

    @Test
    void tooOldOrAnotherOneIsUnfit() {
        assertThat(CLibrary.unfit("glibc 2.31")).isTrue();
        assertThat(CLibrary.unfit("glibc 2.4")).isTrue();
        assertThat(CLibrary.unfit("musl")).isTrue();
        assertThat(CLibrary.unfit("glibc 2.35")).isFalse();
        assertThat(CLibrary.unfit("glibc 2.100")).isFalse();
    }

    /** What is said to be needed is what the libraries ask for. */
    @Test
    void theLibrariesNeedWhatIsSaid() throws IOException {
        TreeSet<Integer> glibc = new TreeSet<>();
        TreeSet<Integer> libstdcxx = new TreeSet<>();
        try (Stream<Path> files =
                Stream.concat(Files.walk(Path.of(".native")), Files.walk(Path.of("target/natives")))) {
            for (Path file : files.filter(
                            file -> file.toString().matches(".*\\.so(\\.\\d+)*") && Files.isRegularFile(file))
                    .toList()) {
                glibc.addAll(versions("GLIBC_2\\.(\\d{1,2})\\x00", file));
                libstdcxx.addAll(versions("GLIBCXX_3\\.4\\.(\\d{1,2})\\x00", file));
            }
        }
        assertThat("2." + glibc.last()).isEqualTo(CLibrary.NEEDED_GLIBC);
        assertThat("3.4." + libstdcxx.last()).isEqualTo(CLibrary.NEEDED_LIBSTDCXX);
    }

    /** The names of versions lie in a library's table of strings, in its first part; 64 MB have them all. */
    private static List<Integer> versions(String pattern, Path file) throws IOException {
        byte[] bytes;
        try (var in = Files.newInputStream(file)) {
            bytes = in.readNBytes(64 << 20);
        }
        Matcher matcher = Pattern.compile(pattern).matcher(new String(bytes, StandardCharsets.ISO_8859_1));
        return matcher.results().map(found -> Integer.valueOf(found.group(1))).toList();
    }
}
