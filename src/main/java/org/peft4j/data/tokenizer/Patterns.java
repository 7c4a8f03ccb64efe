package org.peft4j.data.tokenizer;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Judges the {@code pattern} of Split and Replace: {@code {"String": …}} or {@code {"Regex": …}}. */
final class Patterns {
    private static final int MAX_LENGTH = 2000;

    private Patterns() {}

    /**
     * The pattern as the library may have it.
     *
     * @param limits is told how long a text the pattern can take
     */
    static Map<String, @Nullable Object> judge(Part pattern, TextLimit limits) {
        pattern.only("String", "Regex");
        if (pattern.map().size() != 1) {
            throw pattern.must("{\"String\": …} or {\"Regex\": …}");
        }
        Part text = pattern.find("String").or(() -> pattern.find("Regex")).orElseThrow(() -> pattern.must("a text"));
        if (text.textNotEmpty().length() > MAX_LENGTH) {
            throw text.bad(
                    text.where() + " has " + text.text().length() + " characters, at most " + MAX_LENGTH + " are read");
        }
        if (pattern.find("Regex").isPresent()) {
            limits.steps(RegularExpression.judge(text));
        }
        return pattern.map();
    }
}
