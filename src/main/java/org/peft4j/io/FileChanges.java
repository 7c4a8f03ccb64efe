package org.peft4j.io;

import java.util.function.Consumer;

/**
 * Where the writing of this package says what it is about to change: a file made, forced, renamed, deleted. Nobody listens
 * but tests, which end the process at each of these points and look at what is left.
 */
final class FileChanges {
    private static final Consumer<String> NOBODY = what -> {};
    private static volatile Consumer<String> listener = NOBODY;

    private FileChanges() {}

    static void about(String what) {
        listener.accept(what);
    }

    static void listen(Consumer<String> told) {
        listener = told;
    }
}
