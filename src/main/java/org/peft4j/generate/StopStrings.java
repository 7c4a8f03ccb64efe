package org.peft4j.generate;

import java.util.List;

/** Texts that end a generation, found wherever tokens begin and end. */
public final class StopStrings {
    private final List<String> stops;

    /** @param stops none is empty */
    public StopStrings(List<String> stops) {
        this.stops = List.copyOf(stops);
    }

    /** Where the first of them begins in a text, or -1. */
    public int find(String text) {
        int first = -1;
        for (String stop : stops) {
            int at = text.indexOf(stop);
            if (at >= 0 && (first < 0 || at < first)) {
                first = at;
            }
        }
        return first;
    }

    /** How much of a text can be shown: its end may be the beginning of one of them. */
    public int safe(String text) {
        int safe = text.length();
        for (String stop : stops) {
            for (int n = Math.min(stop.length() - 1, text.length()); n > 0; n--) {
                if (text.regionMatches(text.length() - n, stop, 0, n)) {
                    safe = Math.min(safe, text.length() - n);
                    break;
                }
            }
        }
        return safe;
    }
}
