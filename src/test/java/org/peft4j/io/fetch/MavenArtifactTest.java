package org.peft4j.io.fetch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What happens around Maven, with scripts in its place. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "the scripts are for sh")
class MavenArtifactTest {
    @TempDir
    Path dir;

    @Test
    void copiesTheJarAndReportsDownloads() throws IOException {
        MavenArtifact artifact = new MavenArtifact(
                script(
                        "echo '[INFO] Downloading from central: x'; for a; do case $a in"
                                + " -DoutputDirectory=*) echo jar > ${a#*=}/artifact-1.0-beta.jar;; esac; done; echo \"$@\" > args"),
                "a.group:artifact:1.0-beta");
        List<String> progress = new ArrayList<>();

        Path jar = artifact.copyTo(dir, progress::add);

        assertThat(jar).isEqualTo(dir.resolve("artifact-1.0-beta.jar")).hasContent("jar\n");
        assertThat(progress).containsExactly("Downloading from central: x");
        assertThat(dir.resolve("args")).content().startsWith("-B -C ").contains("-Dartifact=a.group:artifact:1.0-beta");
    }

    @Test
    void showsTheLastErrorsOfAFailure() throws IOException {
        MavenArtifact artifact =
                new MavenArtifact(script("echo '[INFO] fine'; echo '[ERROR] no such artifact' >&2; exit 3"), "g:a:1");
        assertThatThrownBy(() -> artifact.copyTo(dir, line -> {}))
                .isInstanceOf(IOException.class)
                .hasMessageContainingAll(
                        "g:a:1 (exit status 3)", "[ERROR] no such artifact", "--jar FILE", "-Dartifact=g:a:1")
                .message()
                .doesNotContain("fine");
    }

    @Test
    void doesNotHangOnMuchOutput() throws IOException {
        MavenArtifact artifact = new MavenArtifact(
                script("i=0; while [ $i -lt 20000 ]; do echo \"[INFO] line $i\"; i=$((i+1)); done; exit 1"), "g:a:1");
        assertThatThrownBy(() -> artifact.copyTo(dir, line -> {})).hasMessageContaining("[INFO] line 19999");
    }

    @Test
    void withoutMavenSaysWhatToRun() {
        MavenArtifact artifact = new MavenArtifact(dir.resolve("no-mvn").toString(), "g:a:1");
        assertThatThrownBy(() -> artifact.copyTo(dir, line -> {}))
                .isInstanceOf(IOException.class)
                .hasMessageContainingAll("Maven could not be started", "--jar FILE", "-B -C", "-Dartifact=g:a:1");
    }

    @Test
    void aSuccessWithoutAJarIsAFailure() throws IOException {
        MavenArtifact artifact = new MavenArtifact(script("exit 0"), "g:a:1");
        assertThatThrownBy(() -> artifact.copyTo(dir, line -> {})).hasMessageContaining("did not write a-1.jar");
    }

    @Test
    void refusesCoordinatesThatCouldBeOptions() {
        for (String coordinates : List.of("g:a", "g:a:1:jar", "g:a:1 -Dx=y", "g/..:a:1", "")) {
            assertThatThrownBy(() -> new MavenArtifact(coordinates)).isInstanceOf(IllegalArgumentException.class);
        }
    }

    private String script(String body) throws IOException {
        Path script = Files.writeString(dir.resolve("mvn"), "#!/bin/sh\n" + body + "\n");
        assertThat(script.toFile().setExecutable(true)).isTrue();
        return script.toString();
    }
}
