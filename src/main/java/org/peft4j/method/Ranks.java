package org.peft4j.method;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Ranks and alphas of adapted layers, with the names and the meaning of Hugging Face PEFT: what is added to a layer is multiplied
 * with alpha / r.
 *
 * @param r rank
 * @param alpha numerator of the scale
 * @param rankPattern other ranks: name, suffix or regular expression of the end of a path → r; the first match counts
 * @param alphaPattern other alphas, in the same way
 */
public record Ranks(int r, double alpha, Map<String, Integer> rankPattern, Map<String, Double> alphaPattern) {
    /** The largest rank: more than any layer is wide. */
    private static final int MOST = 1 << 20;

    public Ranks {
        check("r", r);
        checkAlpha("alpha", alpha);
        rankPattern = checked(rankPattern);
        alphaPattern = Collections.unmodifiableMap(new LinkedHashMap<>(alphaPattern)); // the first match counts
        alphaPattern.forEach((key, value) -> {
            ModulePattern.of(key);
            checkAlpha("alphaPattern of '" + key + "'", value);
        });
    }

    /** The same for all layers. */
    public static Ranks of(int r, double alpha) {
        return new Ranks(r, alpha, Map.of(), Map.of());
    }

    /**
     * Checks a rank.
     *
     * @param what it is, for the message
     * @throws IllegalArgumentException if it is less than 1, or more than any layer is wide
     */
    public static void check(String what, int rank) {
        if (rank < 1 || rank > MOST) {
            throw new IllegalArgumentException(
                    what + " must be " + (rank < 1 ? "at least 1" : "at most " + MOST) + ", got " + rank);
        }
    }

    /** Patterns of ranks, each checked, in the same order. */
    public static Map<String, Integer> checked(Map<String, Integer> rankPattern) {
        rankPattern.forEach((key, rank) -> {
            ModulePattern.of(key);
            check("rankPattern of '" + key + "'", rank);
        });
        return Collections.unmodifiableMap(new LinkedHashMap<>(rankPattern));
    }

    private static void checkAlpha(String what, double alpha) {
        if (!(alpha > 0 && alpha <= Float.MAX_VALUE)) { // also refuses NaN
            throw new IllegalArgumentException(what + " must be a positive number that float32 holds, got " + alpha);
        }
    }

    /** The rank of a layer. */
    public int rank(String path) {
        return ModulePattern.byEnd(rankPattern).apply(path).orElse(r);
    }

    /** What is added to a layer is multiplied with this: alpha / r. */
    public double scale(String path) {
        return ModulePattern.byEnd(alphaPattern).apply(path).orElse(alpha) / rank(path);
    }
}
