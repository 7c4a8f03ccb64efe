package org.peft4j.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class UserPathTest {
    private static final Optional<Path> HOME = Optional.of(Path.of("/home/ada"));

    @Test
    void tildeIsTheHomeDirectory() {
        assertThat(UserPath.of("~", HOME)).isEqualTo(Path.of("/home/ada"));
        assertThat(UserPath.of("~/", HOME)).isEqualTo(Path.of("/home/ada"));
        assertThat(UserPath.of("~/runs/one", HOME)).isEqualTo(Path.of("/home/ada/runs/one"));
        assertThat(UserPath.of("~//etc/x", HOME)).isEqualTo(Path.of("/home/ada/etc/x"));
    }

    @Test
    void elsewhereATildeIsALetter() {
        assertThat(UserPath.of("./~", HOME)).isEqualTo(Path.of("./~"));
        assertThat(UserPath.of("a~/b", HOME)).isEqualTo(Path.of("a~/b"));
        assertThat(UserPath.of("runs/~/b", HOME)).isEqualTo(Path.of("runs/~/b"));
    }

    @Test
    void otherUsersHomesAreRefusedByName() {
        assertThatThrownBy(() -> UserPath.of("~bob/runs", HOME))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContainingAll("'~bob/runs'", "whole path", "./~bob/runs");
    }

    @Test
    void withoutAHomeTheMessageSaysSo() {
        assertThatThrownBy(() -> UserPath.of("~/x", Optional.empty()))
                .hasMessageContainingAll("'~/x'", "HOME is not set");
    }

    @Test
    void homeIsTheShells() {
        assertThat(UserPath.homes("/home/ada", "/root")).containsExactly(Path.of("/home/ada"), Path.of("/root"));
        assertThat(UserPath.homes(null, "?")).isEmpty();
        assertThat(UserPath.homes("relative", "/root")).containsExactly(Path.of("/root"));
    }

    @Test
    void aNulIsNoPath() {
        assertThatThrownBy(() -> UserPath.of("a\0b", HOME))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("is no path");
    }
}
