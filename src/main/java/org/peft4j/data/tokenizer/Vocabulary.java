package org.peft4j.data.tokenizer;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Tokens and their numbers: the model's own, and those added to it, which get the next numbers in their order as the
 * library gives them.
 */
final class Vocabulary {
    /** The largest number of a token. The library counts in 32 bits without a sign, we with one. */
    static final int MAX_ID = Integer.MAX_VALUE - 1;

    private final Map<String, Integer> model;
    private final int modelSize;
    private final Map<String, Integer> added = new HashMap<>();
    private final Set<Integer> used;
    private int last = -1;

    /**
     * @param model each token's number
     * @param modelSize how many tokens the model counts; more than {@code model} has where one stands there twice
     */
    Vocabulary(Map<String, Integer> model, int modelSize) {
        this.model = model;
        this.modelSize = modelSize;
        this.used = new HashSet<>(model.values());
    }

    /** The number of a token of the model, which added tokens are not. */
    OptionalInt inModel(String token) {
        return optional(model.get(token));
    }

    /** The number of a token, added or not. */
    OptionalInt id(String token) {
        return added.containsKey(token) ? optional(added.get(token)) : inModel(token);
    }

    /** The number that a token gets when it is added now; empty if that number has another token, or is too large. */
    OptionalInt add(String token) {
        Integer id = added.getOrDefault(token, model.get(token));
        if (id == null) {
            long next = last >= modelSize || (modelSize == 0 && last >= 0) ? last + 1L : modelSize;
            if (next > MAX_ID || !used.add((int) next)) {
                return OptionalInt.empty();
            }
            id = (int) next;
        }
        added.put(token, id);
        last = Math.max(last, id);
        return OptionalInt.of(id);
    }

    private static OptionalInt optional(@Nullable Integer id) {
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }
}
