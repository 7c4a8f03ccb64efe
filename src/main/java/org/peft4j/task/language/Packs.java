package org.peft4j.task.language;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/**
 * Rows put together into packs of at most so many tokens: the longest first, each into the fullest pack that has room for it
 * (best fit decreasing), which fills packs better than taking neighbours. The same rows give the same packs. Rows of a pack, and
 * packs, are in the order of the rows.
 */
final class Packs {
    private static final Comparator<LanguageExample> ORDER = Comparator.comparingLong(LanguageExample::line);

    private Packs() {}

    static List<LanguageExample> of(List<LanguageExample> rows, int most) {
        List<LanguageExample> longestFirst = new ArrayList<>(rows);
        longestFirst.sort(Comparator.comparingInt(LanguageExample::tokens)
                .reversed()); // stable, so that equal ones keep their order
        List<List<LanguageExample>> packs = new ArrayList<>();
        TreeMap<Integer, Deque<List<LanguageExample>>> byRoom = new TreeMap<>();
        for (LanguageExample row : longestFirst) {
            Map.Entry<Integer, Deque<List<LanguageExample>>> fullest = byRoom.ceilingEntry(row.tokens());
            List<LanguageExample> pack;
            int room = most;
            if (fullest == null) {
                pack = new ArrayList<>();
                packs.add(pack);
            } else {
                room = fullest.getKey();
                pack = Objects.requireNonNull(fullest.getValue().pollFirst());
                if (fullest.getValue().isEmpty()) {
                    byRoom.remove(room);
                }
            }
            pack.add(row);
            byRoom.computeIfAbsent(room - row.tokens(), left -> new ArrayDeque<>())
                    .addLast(pack);
        }
        packs.forEach(pack -> pack.sort(ORDER));
        return packs.stream().map(Packs::joined).sorted(ORDER).toList();
    }

    private static LanguageExample joined(List<LanguageExample> rows) {
        return new LanguageExample(
                rows.stream().flatMap(row -> row.sequences().stream()).toList(),
                rows.stream().flatMap(row -> row.counts().stream()).toList(),
                rows.stream().flatMap(row -> row.tasks().stream()).toList(),
                rows.stream().flatMap(row -> row.lines().stream()).toList());
    }
}
