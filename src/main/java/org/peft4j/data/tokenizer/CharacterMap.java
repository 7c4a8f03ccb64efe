package org.peft4j.data.tokenizer;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Base64;
import java.util.BitSet;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * Judges the {@code precompiled_charsmap} of a SentencePiece model: a double-array trie (Darts) of UTF-8 sequences, whose
 * values are places in a text of replacements that each end with a zero byte. The library indexes both without checks.
 *
 * <pre>
 * 4 bytes: size of the trie in bytes | units of the trie, 4 bytes each, little endian | replacements, UTF-8
 * </pre>
 */
final class CharacterMap {
    private static final int MAX_REPLACEMENT = 1000;

    private final Part part;
    private final int[] units;
    private final byte[] replacements;
    private int longest = 1;

    private CharacterMap(Part part, int[] units, byte[] replacements) {
        this.part = part;
        this.units = units;
        this.replacements = replacements;
    }

    static CharacterMap read(Part charsmap) {
        byte[] bytes;
        try {
            bytes = Base64.getDecoder().decode(charsmap.text());
        } catch (IllegalArgumentException e) {
            throw charsmap.bad(charsmap.where() + " must be base64: " + e.getMessage());
        }
        ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        long size = bytes.length < 4 ? -1 : Integer.toUnsignedLong(buffer.getInt());
        if (size < 4 || size % 4 != 0 || size > bytes.length - 4) {
            throw charsmap.bad(charsmap.where() + " says that its trie has " + size + " bytes, of " + bytes.length
                    + " in all; it must be a multiple of 4");
        }
        int[] units = new int[(int) size / 4];
        buffer.asIntBuffer().get(units);
        CharacterMap map = new CharacterMap(charsmap, units, Arrays.copyOfRange(bytes, (int) size + 4, bytes.length));
        map.check();
        return map;
    }

    /** One that was judged before. */
    static CharacterMap judged(@Nullable String base64) {
        return read(new Part(Path.of(""), "precompiled_charsmap", base64));
    }

    /** Whether this character, stands for itself. */
    boolean leavesAlone(int codePoint) {
        int node = offset(units[0]);
        for (byte b : Character.toString(codePoint).getBytes(StandardCharsets.UTF_8)) {
            int label = b & 0xFF;
            int child = node ^ label;
            if ((units[child] & 0x800000FF) != label) {
                return true;
            }
            node = child ^ offset(units[child]);
            if (((units[child] >>> 8) & 1) == 1) {
                return false;
            }
        }
        return true; // longer sequences may be mapped, but these are not this character
    }

    /** Most characters that one becomes. */
    int growth() {
        return longest;
    }

    /** Follows every way that a text can take through the trie. */
    private void check() {
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(replacements));
        } catch (CharacterCodingException e) {
            throw part.bad(part.where() + " has replacements that are not UTF-8");
        }
        BitSet seen = new BitSet(units.length);
        Deque<Integer> nodes = new ArrayDeque<>();
        visit(offset(units[0]), seen, nodes);
        while (!nodes.isEmpty()) {
            int node = nodes.pop();
            for (int label = 1; label < 256; label++) {
                int child = node ^ label;
                if (child >= units.length) {
                    throw outside();
                }
                int unit = units[child];
                if ((unit & 0x800000FF) != label) {
                    continue;
                }
                int next = child ^ offset(unit);
                if (((unit >>> 8) & 1) == 1) {
                    if (next >= units.length) {
                        throw outside();
                    }
                    checkValue(units[next] & 0x7FFFFFFF);
                }
                visit(next, seen, nodes);
            }
        }
    }

    private void visit(int node, BitSet seen, Deque<Integer> nodes) {
        if (node >= units.length) {
            throw outside();
        }
        if (!seen.get(node)) {
            seen.set(node);
            nodes.push(node);
        }
    }

    private void checkValue(int value) {
        if (value > replacements.length || (value < replacements.length && (replacements[value] & 0xC0) == 0x80)) {
            throw part.bad(part.where() + " has a replacement at byte " + value + " of " + replacements.length
                    + ", where none begins");
        }
        int end = value;
        while (end < replacements.length && replacements[end] != 0) {
            end++;
        }
        longest = Math.max(longest, end - value);
        if (longest > MAX_REPLACEMENT) {
            throw part.bad(part.where() + " has a replacement of more than " + MAX_REPLACEMENT + " bytes");
        }
    }

    private RuntimeException outside() {
        return part.bad(part.where() + " has a trie that leads outside of itself");
    }

    private static int offset(int unit) {
        return (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
    }
}
