package org.peft4j.model;

import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.ForwardContext;

/**
 * Tokens of all sequences, as the context's packing says how they lie.
 *
 * @param ids numbers of the tokens
 * @param types for each token which text of a pair it belongs to; null if all are of type 0
 */
@SuppressWarnings("ArrayRecordComponent") // read once, by a forward
public record Tokens(int[] ids, int @Nullable [] types) implements Inputs {
    public Tokens {
        if (types != null && types.length != ids.length) {
            throw new IllegalArgumentException("there are " + ids.length + " tokens, but " + types.length + " types");
        }
    }

    /** Tokens of type 0. */
    public static Tokens of(int... ids) {
        return new Tokens(ids, null);
    }

    /**
     * Sequences one behind the other.
     *
     * @param types for each sequence its tokens' types, or null where they are all 0
     */
    public static Tokens joined(List<int[]> ids, List<int @Nullable []> types) {
        int rows = ids.stream().mapToInt(sequence -> sequence.length).sum();
        int[] all = new int[rows];
        int[] allTypes = types.stream().anyMatch(of -> of != null) ? new int[rows] : null;
        int at = 0;
        for (int s = 0; s < ids.size(); s++) {
            int[] own = ids.get(s);
            int[] ownTypes = types.get(s);
            System.arraycopy(own, 0, all, at, own.length);
            if (allTypes != null && ownTypes != null) {
                System.arraycopy(ownTypes, 0, allTypes, at, own.length);
            }
            at += own.length;
        }
        return new Tokens(all, allTypes);
    }

    @Override
    public Tokens slice(int first, int last) {
        return new Tokens(
                Arrays.copyOfRange(ids, first, last), types == null ? null : Arrays.copyOfRange(types, first, last));
    }

    @Override
    public int rows() {
        return ids.length;
    }

    @Override
    public void tell(ForwardContext context) {
        context.read(ids);
    }
}
