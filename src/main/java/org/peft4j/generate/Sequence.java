package org.peft4j.generate;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Adapter;

/** An answer on its way: what is new so far, and where its rows are. */
final class Sequence {
    private final Prompt prompt;
    private int[] ids;
    private double[] logProbs;
    private int length;
    private final Cache.Place place;

    Sequence(Prompt prompt, Cache.Place place) {
        this(prompt, new int[16], new double[16], 0, place);
    }

    private Sequence(Prompt prompt, int[] ids, double[] logProbs, int length, Cache.Place place) {
        this.prompt = prompt;
        this.ids = ids;
        this.logProbs = logProbs;
        this.length = length;
        this.place = place;
    }

    /** The same so far, with rows elsewhere. */
    Sequence at(Cache.Place other) {
        return new Sequence(prompt, ids.clone(), logProbs.clone(), length, other);
    }

    Prompt prompt() {
        return prompt;
    }

    @Nullable
    Adapter adapter() {
        return prompt.adapter();
    }

    Cache.Place place() {
        return place;
    }

    int length() {
        return length;
    }

    void add(int token, double logProb) {
        if (length == ids.length) {
            ids = Arrays.copyOf(ids, 2 * length);
            logProbs = Arrays.copyOf(logProbs, 2 * length);
        }
        ids[length] = token;
        logProbs[length++] = logProb;
    }

    int[] fresh() {
        return Arrays.copyOf(ids, length);
    }

    double[] logProbs() {
        return Arrays.copyOf(logProbs, length);
    }

    /** All tokens. */
    int[] whole() {
        int[] whole = Arrays.copyOf(prompt.ids(), prompt.ids().length + length);
        System.arraycopy(ids, 0, whole, prompt.ids().length, length);
        return whole;
    }

    /** The token that the model has not read. */
    int[] newest() {
        return new int[] {ids[length - 1]};
    }

    /** Positions up to the newest token. */
    long position() {
        Adapter adapter = prompt.adapter();
        return (adapter == null ? 0L : adapter.positions()) + prompt.ids().length + length;
    }
}
