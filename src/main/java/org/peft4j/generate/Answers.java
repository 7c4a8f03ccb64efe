package org.peft4j.generate;

import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;

/**
 * How many continuations a prompt gets.
 *
 * @param n how many
 * @param search that finds them, the best first; null: they are drawn, each by itself, or there is only one
 */
public record Answers(int n, @Nullable BeamSearch search) {
    /** One. */
    public static final Answers ONE = new Answers(1, null);

    public Answers {
        if (n < 1) {
            throw new ConfigException("n must be at least 1, got " + n);
        }
    }

    /** The most sequences that go on at once for a prompt. */
    int width() {
        return search == null ? n : search.beams();
    }
}
