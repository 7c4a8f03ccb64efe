package org.peft4j.metrics;

import java.util.ArrayList;
import java.util.List;

/**
 * An entity: the words from {@code start} to before {@code end}, of a type; "" where tags have no types.
 *
 * <p>Tags are {@code O}, {@code B-TYPE} and {@code I-TYPE}. An entity begins at each {@code B-}, and, as the script of the
 * CoNLL-2000 shared task (conlleval) counts, at an {@code I-} that stands first, behind {@code O}, or behind another type.
 */
record Chunk(int start, int end, String type) {
    /** The entities of a sequence of tags. */
    static List<Chunk> of(List<String> tags) {
        List<Chunk> chunks = new ArrayList<>();
        int start = -1;
        for (int i = 0; i <= tags.size(); i++) {
            boolean goesOn = start >= 0
                    && i < tags.size()
                    && tags.get(i).startsWith("I")
                    && type(tags.get(i)).equals(type(tags.get(i - 1)));
            if (goesOn) {
                continue;
            }
            if (start >= 0) {
                chunks.add(new Chunk(start, i, type(tags.get(start))));
            }
            start = i < tags.size() && !tags.get(i).equals("O") ? i : -1;
        }
        return chunks;
    }

    /** Whether each {@code I-} stands behind a {@code B-} or an {@code I-} of its type. */
    static boolean wellFormed(List<String> tags) {
        return of(tags).stream().allMatch(chunk -> tags.get(chunk.start()).startsWith("B"));
    }

    private static String type(String tag) {
        int hyphen = tag.indexOf('-');
        return hyphen < 0 ? "" : tag.substring(hyphen + 1);
    }
}
