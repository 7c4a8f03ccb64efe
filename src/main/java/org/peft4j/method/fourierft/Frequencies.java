package org.peft4j.method.fourierft;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.peft4j.method.ModulePattern;

/**
 * Which coefficients of a layer's spectrum are trained; the others are 0.
 *
 * @param nFrequency how many
 * @param nFrequencyPattern other numbers: name, suffix or regular expression of the end of a path → number; the first match counts
 * @param randomLocSeed seed of their places, which Hugging Face PEFT draws by the same generator; files do not have them
 */
public record Frequencies(int nFrequency, Map<String, Integer> nFrequencyPattern, long randomLocSeed) {
    public Frequencies {
        check("nFrequency", nFrequency);
        nFrequencyPattern =
                Collections.unmodifiableMap(new LinkedHashMap<>(nFrequencyPattern)); // the first match counts
        nFrequencyPattern.forEach((key, number) -> {
            ModulePattern.of(key);
            check("nFrequencyPattern of '" + key + "'", number);
        });
    }

    private static void check(String what, int number) {
        if (number < 1) {
            throw new IllegalArgumentException(what + " must be at least 1, got " + number);
        }
    }

    /** PEFT's defaults: 1000, seed 777. */
    public static Frequencies defaults() {
        return of(1000);
    }

    /** The same number everywhere, of PEFT's seed. */
    public static Frequencies of(int nFrequency) {
        return new Frequencies(nFrequency, Map.of(), 777);
    }
}
