package org.peft4j.metrics;

import java.util.List;

/** The part of the words whose tag is right, for tags of any kind. Not for several threads at the same time. */
public final class TagAccuracy {
    private long words;
    private long right;

    /** Counts one sentence: the right tags, and as many predicted ones. */
    public void add(List<String> gold, List<String> predicted) {
        if (gold.size() != predicted.size()) {
            throw new IllegalArgumentException(gold.size() + " tags, but " + predicted.size() + " predicted ones");
        }
        for (int i = 0; i < gold.size(); i++) {
            right += gold.get(i).equals(predicted.get(i)) ? 1 : 0;
        }
        words += gold.size();
    }

    /** From 0 to 1; 0 where nothing was counted. */
    public double value() {
        return words == 0 ? 0 : (double) right / words;
    }

    /** Words counted. */
    public long words() {
        return words;
    }
}
