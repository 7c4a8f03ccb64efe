package org.peft4j.io;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * Seeded damage to bytes, for fuzz tests that fail the same way twice: flipped bits, bytes set, inserted and deleted,
 * pieces repeated, ends cut off, numbers replaced by those that overflow something.
 */
public final class Mutations {
    private static final List<String> NUMBERS = List.of(
            "0",
            "1",
            "-1",
            "7",
            "8",
            "9",
            "255",
            "4294967296",
            "2147483647",
            "2147483648",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "-9223372036854775808",
            "1e9",
            "1.5",
            "1e400",
            "null",
            "[]",
            "{}",
            "\"1\"",
            "00",
            "99999999999999999999999999999999999999");

    private static final String ALPHABET = "{}[]\",:\\ \n0123456789eE+-.nulltrue\u0000\u007f\u0080\u00c0\u00ff";

    private final Random random;

    public Mutations(long seed) {
        random = new Random(seed);
    }

    /** A damaged copy; one to four mutations. */
    public byte[] mutate(byte[] original) {
        byte[] bytes = original.clone();
        for (int i = random.nextInt(4); i >= 0; i--) {
            bytes = once(bytes);
        }
        return bytes;
    }

    /** Whether to do something, once in {@code n} times. */
    public boolean oneIn(int n) {
        return random.nextInt(n) == 0;
    }

    private byte[] once(byte[] bytes) {
        if (bytes.length == 0) {
            return new byte[] {any()};
        }
        int at = random.nextInt(bytes.length);
        switch (random.nextInt(7)) {
            case 0 -> {
                bytes[at] ^= (byte) (1 << random.nextInt(8));
                return bytes;
            }
            case 1 -> {
                bytes[at] = any();
                return bytes;
            }
            case 2 -> {
                return replace(bytes, at, at, new byte[] {any()});
            }
            case 3 -> {
                return replace(bytes, at, Math.min(bytes.length, at + 1 + random.nextInt(4)), new byte[0]);
            }
            case 4 -> {
                int end = Math.min(bytes.length, at + 1 + random.nextInt(80));
                return replace(bytes, end, end, Arrays.copyOfRange(bytes, at, end));
            }
            case 5 -> {
                return Arrays.copyOf(bytes, at);
            }
            default -> {
                return replaceNumber(bytes);
            }
        }
    }

    private byte[] replaceNumber(byte[] bytes) {
        List<int[]> numbers = new ArrayList<>();
        for (int i = 0; i < bytes.length; i++) {
            int start = i;
            while (i < bytes.length && bytes[i] >= '0' && bytes[i] <= '9') {
                i++;
            }
            if (i > start) {
                numbers.add(new int[] {start, i});
            }
        }
        if (numbers.isEmpty()) {
            return bytes;
        }
        int[] number = numbers.get(random.nextInt(numbers.size()));
        String other = NUMBERS.get(random.nextInt(NUMBERS.size()));
        return replace(bytes, number[0], number[1], other.getBytes(StandardCharsets.US_ASCII));
    }

    private byte any() {
        return random.nextBoolean()
                ? (byte) random.nextInt(256)
                : (byte) ALPHABET.charAt(random.nextInt(ALPHABET.length()));
    }

    private static byte[] replace(byte[] bytes, int start, int end, byte[] other) {
        byte[] result = Arrays.copyOf(bytes, bytes.length - (end - start) + other.length);
        System.arraycopy(other, 0, result, start, other.length);
        System.arraycopy(bytes, end, result, start + other.length, bytes.length - end);
        return result;
    }
}
