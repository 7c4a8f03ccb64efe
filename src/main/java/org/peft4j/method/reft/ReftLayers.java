package org.peft4j.method.reft;

import java.util.List;

/**
 * Behind which layers rows are edited.
 *
 * @param numbers of the layers, from 0; empty: all
 */
public record ReftLayers(List<Integer> numbers) {
    /** Behind each layer. */
    public static final ReftLayers ALL = new ReftLayers(List.of());

    private static final String WORD = "all";

    public ReftLayers {
        numbers = numbers.stream().distinct().sorted().toList(); // same file for the same settings
        if (!numbers.isEmpty() && numbers.get(0) < 0) {
            throw new IllegalArgumentException("layers must have numbers of layers from 0, got " + numbers.get(0));
        }
    }

    /**
     * Behind these.
     *
     * @throws IllegalArgumentException if there is none
     */
    public static ReftLayers of(List<Integer> numbers) {
        if (numbers.isEmpty()) {
            throw new IllegalArgumentException("layers must be all, or name at least one layer, got []");
        }
        return new ReftLayers(numbers);
    }

    /**
     * The word for all.
     *
     * @throws IllegalArgumentException if it is another one
     */
    public static ReftLayers parse(String word) {
        if (!word.equals(WORD)) {
            throw new IllegalArgumentException("layers must be all, or a list such as [0, 3], got '" + word + "'");
        }
        return ALL;
    }

    /** Whether rows behind a layer are edited. */
    public boolean contains(int layer) {
        return numbers.isEmpty() || numbers.contains(layer);
    }

    /** The numbers, or {@code all}: as files have it. */
    public Object toTree() {
        return numbers.isEmpty() ? WORD : numbers;
    }

    @Override
    public String toString() {
        return toTree().toString();
    }
}
