package org.peft4j.io;

import java.util.Collection;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.Collectors;

/** Finds what somebody probably meant: the known name with the fewest edits from a mistyped one. */
public final class NearestName {
    /** Names that are longer were not typed by hand; comparing them would take long. */
    private static final int LONGEST = 100;

    private NearestName() {}

    /**
     * The known name nearest to {@code name}, if it is near enough to be a slip of the keyboard: at most a third of the
     * letters differ (insertions, deletions, changes and swaps of neighbours count one each).
     */
    public static Optional<String> of(String name, Collection<String> known) {
        return known.stream()
                .filter(candidate -> isNear(name, candidate))
                .min(Comparator.<String>comparingInt(candidate -> distance(name, candidate))
                        .thenComparing(Comparator.naturalOrder()));
    }

    /** The end of an error message: {@code "; did you mean 'x'?"}, or the list of what is known. */
    public static String hint(String name, Collection<String> known) {
        return of(name, known)
                .map(nearest -> "; did you mean '" + nearest + "'?")
                .orElseGet(() -> "; known: "
                        + known.stream()
                                .sorted()
                                .limit(40)
                                .map(other -> other.length() > LONGEST ? other.substring(0, LONGEST) + "…" : other)
                                .collect(Collectors.joining(", "))
                        + (known.size() > 40 ? ", … (" + known.size() + ")" : ""));
    }

    private static boolean isNear(String name, String candidate) {
        int longest = Math.max(name.length(), candidate.length());
        int atLeast = Math.abs(name.length() - candidate.length());
        return longest <= LONGEST && atLeast * 3 <= longest + 2 && distance(name, candidate) * 3 <= longest + 2;
    }

    /** Damerau's distance (optimal string alignment). */
    private static int distance(String a, String b) {
        int[][] d = new int[a.length() + 1][b.length() + 1];
        for (int i = 0; i <= a.length(); i++) {
            for (int j = 0; j <= b.length(); j++) {
                if (i == 0 || j == 0) {
                    d[i][j] = i + j;
                    continue;
                }
                int change = d[i - 1][j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                d[i][j] = Math.min(change, 1 + Math.min(d[i - 1][j], d[i][j - 1]));
                if (i > 1 && j > 1 && a.charAt(i - 1) == b.charAt(j - 2) && a.charAt(i - 2) == b.charAt(j - 1)) {
                    d[i][j] = Math.min(d[i][j], d[i - 2][j - 2] + 1);
                }
            }
        }
        return d[a.length()][b.length()];
    }
}
