package org.peft4j.data.tokenizer;

import java.util.stream.IntStream;

/**
 * The special tokens around a text.
 *
 * @param before numbers of the tokens in front of it
 * @param after numbers of the tokens behind it
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record Template(int[] before, int[] after) {
    static final Template NONE = new Template(new int[0], new int[0]);

    int size() {
        return before.length + after.length;
    }

    /** This around the text and the other one around that. */
    Template inside(Template outer) {
        return new Template(concat(outer.before, before), concat(after, outer.after));
    }

    int[] around(int[] text) {
        return concat(concat(before, text), after);
    }

    private static int[] concat(int[] a, int[] b) {
        return IntStream.concat(IntStream.of(a), IntStream.of(b)).toArray();
    }
}
