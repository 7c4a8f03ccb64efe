package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.run.files.AdapterSettings;

/**
 * What a caller's adapter directory has.
 *
 * @param file PEFT's files; null if no adapter was given
 * @param beside our settings; null if there are none
 */
record GivenAdapter(@Nullable AdapterFile file, @Nullable AdapterSettings beside) {
    /** @param directory the adapter's, or null */
    static GivenAdapter read(@Nullable Path directory) throws IOException {
        if (directory == null) {
            return new GivenAdapter(null, null);
        }
        AdapterFile file = AdapterFiles.read(directory);
        return new GivenAdapter(file, AdapterSettings.read(file.directory()).orElse(null));
    }
}
