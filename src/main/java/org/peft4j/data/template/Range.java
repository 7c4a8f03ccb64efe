package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.AbstractList;
import java.util.List;

/** Python's range, no longer than jinja2's sandbox allows. */
record Range(long start, long stop, long step) {
    private static final int MAX_LENGTH = 100_000;
    private static final long FAR = 1L << 53;

    Range {
        if (step == 0) {
            throw TemplateError.fault("the step of a range must not be 0");
        }
        if (Math.abs(start) > FAR
                || Math.abs(stop) > FAR
                || Math.abs(step) > FAR
                || count(start, stop, step) > MAX_LENGTH) {
            throw TemplateError.fault("a range is longer than " + MAX_LENGTH + ", the most that a template may have");
        }
    }

    private static long count(long start, long stop, long step) {
        long distance = step > 0 ? stop - start : start - stop;
        return distance <= 0 ? 0 : (distance - 1) / Math.abs(step) + 1;
    }

    int size() {
        return (int) count(start, stop, step);
    }

    BigInteger get(int index) {
        return BigInteger.valueOf(start + index * step);
    }

    List<Object> list() {
        return new AbstractList<>() {
            @Override
            public Object get(int index) {
                return Range.this.get(index);
            }

            @Override
            public int size() {
                return Range.this.size();
            }
        };
    }

    boolean has(BigInteger value) {
        if (value.bitLength() > 60) {
            return false;
        }
        long from = value.longValue() - start;
        return from % step == 0 && from / step >= 0 && from / step < size();
    }
}
