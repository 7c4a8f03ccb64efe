package org.peft4j.host;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Why native libraries cannot be loaded, in words that say what to do; the loader's own stay as the cause. */
public final class LinkFailure {
    private static final Pattern GLIBC = Pattern.compile("version [`'\"]GLIBC_([\\d.]+)' not found");
    private static final Pattern LIBSTDCXX = Pattern.compile("version [`'\"](?:GLIBCXX|CXXABI)_[\\d.]+' not found");

    private LinkFailure() {}

    /** Refuses a machine on which loading cannot succeed, before it is tried. */
    public static void requireCLibrary() {
        CLibrary.here().filter(CLibrary::unfit).ifPresent(here -> {
            throw new UnsatisfiedLinkError(oldCLibrary(here));
        });
    }

    /** @param platform as JavaCPP names it, {@code macosx-arm64} */
    public static UnsatisfiedLinkError noLibraries(String platform, @Nullable Throwable cause) {
        String message = platform.equals("linux-x86_64")
                ? "peft4j: no native libraries for " + platform + "; add the dependency org.peft4j:peft4j:VERSION:"
                        + platform + " (classifier " + platform + ") beside the main jar"
                : "peft4j: there are no native libraries for " + platform + ", only for linux-x86_64 (glibc "
                        + CLibrary.NEEDED_GLIBC + " or newer); on other systems run it in a Linux container or virtual"
                        + " machine for x86-64";
        return error(message, cause);
    }

    /**
     * An error to throw instead of what the loader said.
     *
     * @param library what was to be loaded, for people
     */
    public static UnsatisfiedLinkError of(String library, Throwable failure) {
        StringBuilder said = new StringBuilder();
        String innermost = "";
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            innermost = String.valueOf(cause.getMessage());
            said.append(innermost).append('\n');
        }
        String message = explained(said.toString()).orElse("peft4j: " + library + " cannot be loaded: " + innermost);
        return error(message, failure);
    }

    private static Optional<String> explained(String said) {
        Matcher glibc = GLIBC.matcher(said);
        if (glibc.find()) {
            return Optional.of(oldCLibrary(CLibrary.here().orElse("one without GLIBC_" + glibc.group(1))));
        }
        if (LIBSTDCXX.matcher(said).find()) {
            return Optional.of("peft4j: the native libraries need libstdc++ of GCC 12 or newer (GLIBCXX_"
                    + CLibrary.NEEDED_LIBSTDCXX + "), and here is an older one; " + CLibrary.WHO_HAS_IT);
        }
        if (said.contains("libstdc++.so.6: cannot open shared object file")) {
            return Optional.of("peft4j: the native libraries need libstdc++.so.6, which is not installed; install"
                    + " libstdc++6 (Debian, Ubuntu) or libstdc++ (Fedora, RHEL)");
        }
        if (said.contains("failed to map segment from shared object")) {
            return Optional.of("peft4j: native libraries were unpacked into " + NativeCache.directory()
                    + ", from where the system runs no code (a file system mounted noexec?); name another directory"
                    + " with PEFT4J_CACHE or -Dpeft4j.cache");
        }
        if (said.contains("No space left on device") || said.contains("Disk quota exceeded")) {
            return Optional.of("peft4j: no room to unpack native libraries (600 MB) into " + NativeCache.directory()
                    + "; make room, or name another directory with PEFT4J_CACHE or -Dpeft4j.cache");
        }
        return Optional.empty();
    }

    static String oldCLibrary(String here) {
        return "peft4j: the native libraries need glibc " + CLibrary.NEEDED_GLIBC + " or newer, and this system has "
                + here + "; " + CLibrary.WHO_HAS_IT + ", also as containers";
    }

    private static UnsatisfiedLinkError error(String message, @Nullable Throwable cause) {
        UnsatisfiedLinkError error = new UnsatisfiedLinkError(message);
        error.initCause(cause);
        return error;
    }
}
