package org.peft4j.generate;

/** Numbers of which the smallest is at hand: a binary heap in an array. */
final class LongHeap {
    private final long[] values;
    private int size;

    /** Takes the array as its own, in time proportional to its length. */
    LongHeap(long[] values) {
        this.values = values;
        size = values.length;
        for (int i = size / 2 - 1; i >= 0; i--) {
            down(i);
        }
    }

    int size() {
        return size;
    }

    long smallest() {
        return values[0];
    }

    /** Puts a number in the smallest one's place. */
    void replaceSmallest(long value) {
        values[0] = value;
        down(0);
    }

    long removeSmallest() {
        long smallest = values[0];
        values[0] = values[--size];
        down(0);
        return smallest;
    }

    private void down(int from) {
        int at = from;
        long value = values[at];
        while (2 * at + 1 < size) {
            int child = 2 * at + 1;
            if (child + 1 < size && values[child + 1] < values[child]) {
                child++;
            }
            if (values[child] >= value) {
                break;
            }
            values[at] = values[child];
            at = child;
        }
        values[at] = value;
    }
}
