package org.peft4j.nn.seam;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Where in the texts of a call the tokens stand from which on an adapter acts (activated LoRA): their last occurrence, found once
 * for all layers that ask.
 */
final class Invocations {
    /** Texts [first, last) of those that lie one behind the other in ids. */
    @SuppressWarnings("ArrayRecordComponent") // never compared
    private record Texts(int[] ids, Packing packing, int first, int last) {
        List<int[]> all() {
            return IntStream.range(first, last)
                    .mapToObj(s -> Arrays.copyOfRange(ids, (int) packing.begin(s), (int) packing.end(s)))
                    .toList();
        }

        Texts slice(int from, int to) {
            return new Texts(ids, packing, first + from, first + to);
        }
    }

    private final @Nullable List<int[]> prompts;
    private final Map<List<Integer>, long[]> counts = new HashMap<>();
    private @Nullable Texts texts; // split when somebody asks: most calls have no such adapter

    /** @param prompts the tokens among which is looked, for each sequence; null: all of its text in this call */
    Invocations(@Nullable List<int[]> prompts) {
        this.prompts = prompts;
    }

    /** How many tokens the prompt of a sequence has; empty: nobody said it. */
    OptionalInt promptLength(int sequence) {
        return prompts == null ? OptionalInt.empty() : OptionalInt.of(prompts.get(sequence).length);
    }

    /** Says the texts of the call, one behind the other. */
    void read(int[] ids, Packing text) {
        if (ids.length != text.rows()) {
            return; // the model refuses them, and says so
        }
        texts = new Texts(ids, text, 0, text.sequences());
        counts.clear();
    }

    /** Sequences [first, last) by themselves. */
    Invocations slice(int first, int last) {
        Invocations slice = new Invocations(prompts == null ? null : prompts.subList(first, last));
        slice.texts = texts == null ? null : texts.slice(first, last);
        return slice;
    }

    /** What follows from the starts for each sequence, made once. */
    long[] counts(List<Integer> invocation, Function<List<Integer>, long[]> maker) {
        long[] known = counts.get(invocation);
        if (known == null) {
            known = maker.apply(invocation);
            counts.put(invocation, known);
        }
        return known;
    }

    /**
     * The number of the token, in the text or prompt of each sequence, with which the last occurrence begins; -1 where there is
     * none.
     *
     * @param continued whether rows of earlier calls belong to the text, so that it is not here as a whole
     */
    int[] starts(List<Integer> invocation, boolean continued) {
        List<int[]> all = prompts != null ? prompts : continued || texts == null ? null : texts.all();
        if (all == null) {
            throw new IllegalStateException(
                    "an adapter acts from certain tokens of a text on, but this call was not told "
                            + (continued ? "the prompts that its rows continue" : "the tokens of its texts"));
        }
        return all.stream().mapToInt(ids -> last(invocation, ids)).toArray();
    }

    static int last(List<Integer> tokens, int[] ids) {
        for (int start = ids.length - tokens.size(); start >= 0; start--) {
            int i = 0;
            while (i < tokens.size() && ids[start + i] == tokens.get(i)) {
                i++;
            }
            if (i == tokens.size()) {
                return start;
            }
        }
        return -1;
    }
}
