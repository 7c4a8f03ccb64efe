package org.peft4j.io;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/** For tests: what happens where files are about to be changed. */
public final class FileChangePoints {
    private FileChangePoints() {}

    /** Tells of each change until closed; one listener at a time. */
    public static AutoCloseable listen(Consumer<String> told) {
        FileChanges.listen(told);
        return () -> FileChanges.listen(what -> {});
    }

    /** Ends this process, as a kill would, before its n-th change (from 1); the count says how many there were. */
    public static AtomicInteger haltBefore(int n, int status) {
        AtomicInteger count = new AtomicInteger();
        FileChanges.listen(what -> {
            if (count.incrementAndGet() == n) {
                Runtime.getRuntime().halt(status);
            }
        });
        return count;
    }
}
