package org.peft4j.task.language;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.peft4j.data.TextTokenizer.Tokens;

/** Rows are put together so that packs are full. */
class PacksTest {
    private static List<LanguageExample> rows(int... lengths) {
        List<LanguageExample> rows = new ArrayList<>();
        for (int length : lengths) {
            rows.add(
                    LanguageExample.of(new Tokens(new int[length], null, false), new boolean[length], rows.size() + 1));
        }
        return rows;
    }

    private static List<List<Integer>> lengths(List<LanguageExample> packs) {
        return packs.stream()
                .map(pack -> pack.sequences().stream()
                        .map(tokens -> tokens.tokens().length)
                        .toList())
                .toList();
    }

    /** Neighbours would need four packs; the row of 4 goes to the 6, which it fills, and not to the 5. */
    @Test
    void eachRowGoesToTheFullestPackThatHasRoom() {
        assertThat(lengths(Packs.of(rows(5, 6, 4, 3, 2), 10))).containsExactly(List.of(5, 3, 2), List.of(6, 4));
    }

    @Test
    void rowsAndPacksAreInTheOrderOfTheRows() {
        List<LanguageExample> packs = Packs.of(rows(1, 9, 8, 10, 2), 10);

        assertThat(lengths(packs)).containsExactly(List.of(1, 9), List.of(8, 2), List.of(10));
        assertThat(packs.stream().map(LanguageExample::line)).containsExactly(1L, 3L, 4L);
    }

    @Test
    void noRowIsLostAndNoPackTooFull() {
        int[] lengths = new java.util.Random(7).ints(500, 1, 65).toArray();

        List<LanguageExample> packs = Packs.of(rows(lengths), 64);

        assertThat(packs).allSatisfy(pack -> assertThat(pack.tokens()).isBetween(1, 64));
        assertThat(lengths(packs).stream().flatMap(List::stream))
                .containsExactlyInAnyOrderElementsOf(
                        Arrays.stream(lengths).boxed().toList());
        assertThat(packs).as("as many as by searching all packs").hasSize(searched(lengths));
    }

    /** The number of packs where each row, the longest first, looks at every pack for the fullest that has room. */
    private static int searched(int[] lengths) {
        List<Integer> rooms = new ArrayList<>();
        int[] sorted = Arrays.stream(lengths).sorted().toArray();
        for (int i = sorted.length - 1; i >= 0; i--) {
            int fullest = -1;
            for (int pack = 0; pack < rooms.size(); pack++) {
                boolean fits = rooms.get(pack) >= sorted[i];
                if (fits && (fullest < 0 || rooms.get(pack) < rooms.get(fullest))) {
                    fullest = pack;
                }
            }
            if (fullest < 0) {
                rooms.add(64 - sorted[i]);
            } else {
                rooms.set(fullest, rooms.get(fullest) - sorted[i]);
            }
        }
        return rooms.size();
    }
}
