package org.peft4j;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;

/** What the blocks of a {@link Composition} take. */
final class CompositionRules {
    /** The most blocks within each other. */
    static final int DEPTH = 32;

    /** Sums of weights that differ less from 1 are taken as they are: a tree that is written and read stays equal. */
    private static final double ROUNDING = 1e-12;

    private static final String NAME = "Name";

    /** Block and the blocks that its children may be, beside names. */
    private static final Map<String, List<String>> ALLOWED = Map.of(
            "Stack", List.of("Fuse", "Split", "BatchSplit", "Average", "Parallel"),
            "Fuse", List.of("Stack"),
            "Split", List.of("Split", "Stack", "BatchSplit", "Average"),
            "BatchSplit", List.of("Stack", "Split", "BatchSplit", "Average"),
            "Parallel", List.of("Stack", "BatchSplit", "Average"),
            "Average", List.of("Stack", "Split", "BatchSplit"));

    private CompositionRules() {}

    static List<Composition> children(String block, List<? extends Composition> children) {
        if (children.isEmpty()) {
            throw new IllegalArgumentException(block + " needs at least one child, got none");
        }
        List<String> blocks = ALLOWED.getOrDefault(block, List.of());
        for (Composition child : children) {
            String kind = child.getClass().getSimpleName();
            if (!kind.equals(NAME) && !blocks.contains(kind)) {
                throw new IllegalArgumentException(block + " takes names of adapters and "
                        + String.join(", ", blocks) + ", got " + child
                        + (block.equals("Stack") && kind.equals("Stack")
                                ? "; write its children into the outer one"
                                : ""));
            }
            if (depth(child) >= DEPTH) {
                throw new IllegalArgumentException(
                        "a composition has at most " + DEPTH + " blocks within each other, got more in " + block);
            }
        }
        return List.copyOf(children);
    }

    private static int depth(Composition of) {
        return of.children().stream().mapToInt(child -> 1 + depth(child)).max().orElse(0);
    }

    static List<Integer> sizes(String block, List<Composition> children, List<Integer> sizes) {
        if (sizes.size() != children.size()) {
            throw new IllegalArgumentException(block + " needs a size for each of its " + children.size()
                    + " children, got " + sizes.size() + ": " + sizes);
        }
        long sum = 0;
        for (int size : sizes) {
            if (size < 1) {
                throw new IllegalArgumentException(block + " needs sizes of at least 1, got " + sizes);
            }
            sum += size;
        }
        if (sum > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(block + " needs sizes with a sum below 2^31, got " + sizes);
        }
        return List.copyOf(sizes);
    }

    /** Scaled so that their sum is 1. */
    static List<Double> weights(List<Composition> children, List<Double> weights) {
        if (weights.size() != children.size()) {
            throw new IllegalArgumentException("Average needs a weight for each of its " + children.size()
                    + " children, or none at all, got " + weights.size() + ": " + weights);
        }
        double sum = 0;
        for (double weight : weights) {
            if (!(weight > 0)) {
                throw new IllegalArgumentException(
                        "Average needs weights above 0, got " + weights + "; leave out what should not count");
            }
            sum += weight;
        }
        if (Double.isInfinite(sum)) {
            throw new IllegalArgumentException("Average needs finite weights, got " + weights);
        }
        if (weights.stream().distinct().count() == 1) {
            return Collections.nCopies(weights.size(), 1.0 / weights.size());
        }
        if (Math.abs(sum - 1) < ROUNDING) {
            return List.copyOf(weights);
        }
        List<Double> scaled = new ArrayList<>();
        for (double weight : weights) {
            scaled.add(weight / sum);
        }
        if (scaled.stream().anyMatch(weight -> weight == 0)) {
            throw new IllegalArgumentException(
                    "Average needs weights that are above 0 beside each other, got " + weights);
        }
        return List.copyOf(scaled);
    }

    /** Refuses a Parallel within a Parallel, and a branch that is there twice. */
    static void checkBranches(List<Composition> branches) {
        for (Composition branch : branches) {
            if (hasParallel(branch)) {
                throw new IllegalArgumentException("a Parallel cannot be within a Parallel, got " + branch
                        + "; make each a branch of the outer one");
            }
        }
        if (new HashSet<>(branches).size() < branches.size()) {
            throw new IllegalArgumentException(
                    "Parallel needs branches that differ, since answers are told apart by them, got " + branches);
        }
    }

    private static boolean hasParallel(Composition of) {
        return of instanceof Composition.Parallel || of.children().stream().anyMatch(CompositionRules::hasParallel);
    }
}
