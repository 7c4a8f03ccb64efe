package org.peft4j.method.spi.oft;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.method.spi.PeftConfigReader;

/** OFT's files of earlier releases of Hugging Face PEFT, whose numbers mean other rotations. */
final class OftVersions {
    /** The key that says which release wrote a file; releases before 0.18 do not have it. */
    static final String KEY = "peft_version";

    /** The release whose rotations are written here. */
    static final String WRITTEN = "0.21.0";

    private static final Pattern NUMBERS = Pattern.compile("(\\d{1,6})\\.(\\d{1,6}).*");

    private OftVersions() {}

    /** Refuses a file of numbers that would be read as other rotations. */
    static void check(PeftConfigReader config) throws MalformedFileException {
        if (config.get("oft_block_size") == null) {
            throw config.wrong(
                    "oft_block_size",
                    "must be there: files without it are of PEFT before 0.14, whose rotations are other ones; train the"
                            + " adapter anew",
                    null);
        }
        if (config.flag("use_cayley_neumann", true) && !isNew(config.text(KEY))) {
            throw config.wrong(
                    KEY,
                    "must be 0.18 or later where use_cayley_neumann is true: earlier files mean other rotations; train the"
                            + " adapter anew",
                    config.get(KEY));
        }
    }

    private static boolean isNew(@Nullable String version) {
        Matcher numbers = NUMBERS.matcher(version == null ? "" : version);
        return numbers.matches()
                && (Integer.parseInt(numbers.group(1)) > 0 || Integer.parseInt(numbers.group(2)) >= 18);
    }
}
