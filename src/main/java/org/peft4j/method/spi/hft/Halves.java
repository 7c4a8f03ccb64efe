package org.peft4j.method.spi.hft;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.peft4j.method.spi.ModelBlocks;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.random.SplitMix64;

/**
 * What is drawn for a round, of whole modules, weight and bias together. Of the n modules of a block's attention n/2 are trained, and so
 * of its MLP; where n is odd, one more in half of the blocks, which are drawn, too (so that of three two are trained in one half of the
 * blocks, one in the other). Of all norms, in blocks or outside, half are. All else (tables, heads, poolers, modules to save) is always
 * trained. A draw depends on the seed, the round, the kind and the modules' paths alone.
 */
final class Halves {
    private enum Kind {
        ATTENTION("attention's modules"),
        MLP("MLP's modules"),
        NORM("norms");

        private final String words;

        Kind(String words) {
            this.words = words;
        }
    }

    private static final int TOGETHER = -1;

    private final long seed;
    private final Map<String, List<String>> tensors = new LinkedHashMap<>(); // by module
    private final Map<Kind, Map<Integer, List<String>>> drawn = new LinkedHashMap<>(); // modules by block

    /**
     * Finds the modules.
     *
     * @param paths of the tensors
     * @param always modules that are trained in every round
     * @throws IllegalArgumentException if a half would be empty
     */
    Halves(Collection<String> paths, List<String> always, Points points, long seed) {
        this.seed = seed;
        ModelBlocks blocks = new ModelBlocks(points);
        Set<String> saved = SavedModules.of(points, always).keySet();
        for (String path : paths) {
            String module = path.substring(0, Math.max(0, path.lastIndexOf('.')));
            int layer = blocks.layerOf(path);
            boolean vector = Tensors.shape(points.tensors().get(path).value()).length == 1;
            Kind kind = points.linear(module) == null && vector
                    ? Kind.NORM
                    : layer < 0 ? null : blocks.inAttention(path) ? Kind.ATTENTION : Kind.MLP;
            if (kind != null && !saved.contains(path)) {
                List<String> own = tensors.computeIfAbsent(module, none -> new ArrayList<>());
                own.add(path);
                if (own.size() == 1) {
                    drawn.computeIfAbsent(kind, none -> new TreeMap<>())
                            .computeIfAbsent(kind == Kind.NORM ? TOGETHER : layer, none -> new ArrayList<>())
                            .add(module);
                }
            }
        }
        check();
    }

    private void check() {
        if (drawn.isEmpty()) {
            throw new IllegalArgumentException(
                    "parts: no module of the blocks and no norm is among what is chosen, so that a half"
                            + " would be empty; choose more, or take method full");
        }
        drawn.forEach((kind, byBlock) -> {
            List<String> all = byBlock.values().stream().flatMap(List::stream).toList();
            if (all.size() == 1) {
                throw new IllegalArgumentException("parts: of the " + kind.words + " only " + all.get(0)
                        + " is chosen, and a half of one would be empty; choose more, or name it in exclude_modules");
            }
        });
    }

    /** The paths of all tensors that are drawn in some rounds. */
    Set<String> all() {
        Set<String> all = new LinkedHashSet<>();
        tensors.values().forEach(all::addAll);
        return all;
    }

    /** Those of them that a round trains. */
    Set<String> trained(int round) {
        Set<String> trained = new LinkedHashSet<>();
        drawn.forEach((kind, byBlock) -> {
            SplitMix64 random = new SplitMix64(Seeds.mix(seed, "hft." + round + "." + kind));
            List<Integer> order = shuffled(byBlock.keySet(), random);
            for (int i = 0; i < order.size(); i++) {
                List<String> modules = shuffled(byBlock.get(order.get(i)), random);
                int count = (modules.size() + (i + 1) % 2) / 2; // rounded up in every other block
                modules.subList(0, count).forEach(module -> trained.addAll(tensors.get(module)));
            }
        });
        return trained;
    }

    private static <T> List<T> shuffled(Collection<T> items, SplitMix64 random) {
        List<T> order = new ArrayList<>(items);
        for (int i = order.size() - 1; i > 0; i--) {
            java.util.Collections.swap(order, i, (int) random.below(i + 1L));
        }
        return order;
    }
}
