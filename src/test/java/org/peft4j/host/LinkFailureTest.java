package org.peft4j.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LinkFailureTest {
    private static String told(String loader) {
        Throwable inner = new UnsatisfiedLinkError(loader);
        Throwable outer = new UnsatisfiedLinkError("no jnitorch in java.library.path").initCause(inner);
        UnsatisfiedLinkError error = LinkFailure.of("libtorch", outer);
        assertThat(error).hasCause(outer);
        return error.getMessage();
    }

    /** What the loader of glibc 2.36 and the JVM's say. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    /c/libjnitorch.so: /lib/libm.so.6: version `GLIBC_2.35' not found (required by /c/libtorch_cpu.so) | need glibc 2.35 or newer, and this system has
                    /c/libc10.so: /lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /c/libc10.so) | need libstdc++ of GCC 12 or newer
                    /c/libc10.so: libstdc++.so.6: cannot open shared object file: No such file or directory | install libstdc++6
                    /c/libc10.so: failed to map segment from shared object | PEFT4J_CACHE
                    java.io.IOException: No space left on device | make room
                    something else | libtorch cannot be loaded: something else
                    """)
    void theLoadersWordsBecomeOurs(String loader, String ours) {
        assertThat(told(loader)).startsWith("peft4j: ").contains(ours);
    }

    @Test
    void anOldSystemIsToldWhatItHas() {
        assertThat(LinkFailure.oldCLibrary("glibc 2.31")).contains("2.35", "has glibc 2.31", "Ubuntu 22.04");
    }

    @Test
    void otherPlatformsAreToldWhatThereIs() {
        assertThat(LinkFailure.noLibraries("macosx-arm64", null))
                .hasMessageContainingAll("macosx-arm64", "only for linux-x86_64", "container");
        assertThat(LinkFailure.noLibraries("linux-x86_64", null))
                .hasMessageContainingAll("org.peft4j:peft4j:", "classifier linux-x86_64");
    }

    @Test
    void thisMachineIsGoodEnough() {
        LinkFailure.requireCLibrary();
        assertThatThrownBy(() -> {
                    throw LinkFailure.of("x", new UnsatisfiedLinkError("y"));
                })
                .hasMessage("peft4j: x cannot be loaded: y");
    }
}
