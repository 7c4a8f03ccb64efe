package org.peft4j;

import java.nio.file.Files;
import java.nio.file.Path;
import org.peft4j.error.ConfigException;

/** Directories that a call is to make. */
final class Outputs {
    private Outputs() {}

    /**
     * Asked before the work, which may be long.
     *
     * @throws ConfigException if the directory exists and must not be replaced
     */
    static void check(Path out, boolean overwrite) {
        if (Files.exists(out) && !overwrite) {
            throw new ConfigException("out: " + out
                    + " exists; choose another directory, or replace it (--overwrite; in Java overwrite = true)");
        }
    }
}
