package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.EvaConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;
import org.peft4j.method.spi.PatternRule;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;

/**
 * EVA: A of the principal directions of what a layer reads, and ranks by how much they explain: the sum of all ranks goes, one by one,
 * to the largest parts of variation among all layers. Directions are looked for batch by batch until they stand still. The numbers are
 * those of Hugging Face PEFT, which looks on, from the first row again, until all stand still.
 */
final class SeenByEva extends SeenData {
    private final EvaConfig eva;
    private final SeenInputs<IncrementalPca> seen;
    private final Map<String, Integer> most = new LinkedHashMap<>();
    private @Nullable Map<String, Integer> ranks; // of the last batch, by path
    private @Nullable Tensor counted;
    private long used;

    SeenByEva(LoraConfig config, List<LoraSite> sites, Points points, long seed) {
        super(config, sites, points, seed);
        eva = config.dataStart().eva();
        for (LoraSite site : sites) {
            double rank = Math.rint(site.rank() * eva.rho());
            most.put(site.point().path(), (int) Math.min(rank, LoraSite.in(site.point())));
        }
        seen = new SeenInputs<>(this::pca, this::see);
    }

    // The layers that share an x show only behind the first that reads it: it keeps as many directions as any layer of
    // its width wants.
    private IncrementalPca pca(LoraSite leader) {
        long width = LoraSite.in(leader.point());
        int k = sites.stream()
                .filter(site -> LoraSite.in(site.point()) == width && beside(site, leader))
                .mapToInt(site -> most.get(site.point().path()))
                .max()
                .orElseThrow();
        return new IncrementalPca(k, seed, LoraSite.pathOfA((LinearPoint) leader.point()));
    }

    /** Whether the two may read the same x: they are children of one module. */
    private static boolean beside(LoraSite one, LoraSite other) {
        return parent(one).equals(parent(other));
    }

    private static String parent(LoraSite site) {
        String path = site.point().path();
        return path.substring(0, Math.max(0, path.lastIndexOf('.')));
    }

    @Override
    LinearClaim watch(LoraSite site) {
        return seen.watch(site);
    }

    @Override
    public long bytes() {
        return 0; // what is kept lies on the CPU
    }

    @Override
    void see(Packing rows, boolean[] told) {
        long[] numbers = new long[told.length];
        int n = 0;
        for (int row = 0; row < told.length; row++) {
            if (told[row] || !eva.useLabelMask()) {
                numbers[n++] = row;
            }
        }
        used += n;
        if (counted != null) {
            counted.close();
        }
        int count = n;
        counted = n == told.length ? null : Scopes.owned(() -> Tensors.ofLongs(numbers, count));
        seen.before(rows.rows());
        ranks = distributed();
    }

    private void see(SeenInputs.Input<IncrementalPca> input, Tensor x) {
        if (standsStill(input)) {
            return;
        }
        try (PointerScope scope = new PointerScope()) {
            Tensor rows = Tensors.onCpu(x, ScalarType.Float);
            input.seen().add(counted == null ? rows : rows.index_select(0, counted), eva.tau());
        }
    }

    /** Whether all directions that the last batch's ranks need were found. */
    private boolean standsStill(SeenInputs.Input<IncrementalPca> input) {
        String path = input.sites().get(0).point().path();
        int needed = ranks == null ? components(input) : ranks.get(path);
        return input.seen().ready() && input.seen().found(needed);
    }

    @Override
    public boolean enough() {
        if (seen.inputs().isEmpty()) {
            return false;
        }
        ranks = distributed();
        return seen.inputs().stream().allMatch(this::standsStill);
    }

    /** The rank of each layer; null while an input has no directions yet. */
    private @Nullable Map<String, Integer> distributed() {
        List<SeenInputs.Input<IncrementalPca>> inputs = seen.inputs();
        if (inputs.isEmpty() || !inputs.stream().allMatch(input -> input.seen().ready())) {
            return null;
        }
        record Part(String path, double explained) {}
        List<Part> parts = new ArrayList<>();
        Map<String, Integer> counts = new LinkedHashMap<>();
        for (boolean leaders : new boolean[] {true, false}) {
            for (SeenInputs.Input<IncrementalPca> input : inputs) {
                double[] explained = input.seen().explained();
                int components = components(input);
                List<LoraSite> own = input.sites();
                for (LoraSite site : leaders ? own.subList(0, 1) : own.subList(1, own.size())) {
                    String path = site.point().path();
                    counts.put(path, 0);
                    for (int i = 0; i < components; i++) {
                        parts.add(new Part(path, explained[i]));
                    }
                }
            }
        }
        parts.sort(Comparator.comparingDouble(Part::explained).reversed()); // equal ones in their order
        int budget = sites.stream().mapToInt(LoraSite::rank).sum();
        parts.stream().limit(budget).forEach(part -> counts.merge(part.path(), 1, Integer::sum));
        for (SeenInputs.Input<IncrementalPca> input : inputs) { // the first layer of an x gets the most of its ranks
            String leader = input.sites().get(0).point().path();
            for (LoraSite follower : input.sites().subList(1, input.sites().size())) {
                String path = follower.point().path();
                if (counts.get(path) > counts.get(leader)) {
                    int more = counts.get(path);
                    counts.put(path, counts.get(leader));
                    counts.put(leader, more);
                }
            }
        }
        return counts;
    }

    /** The most that any layer of an x may have, all of them together. */
    private int components(SeenInputs.Input<IncrementalPca> input) {
        return input.sites().stream()
                .mapToInt(site -> most.get(site.point().path()))
                .max()
                .orElseThrow();
    }

    @Override
    LoraConfig begun() {
        for (SeenInputs.Input<IncrementalPca> input : seen.inputs()) {
            check(input);
        }
        sites.forEach(seen::of);
        Map<String, Integer> now = distributed();
        if (now == null) {
            throw new IllegalStateException("an input has too few rows");
        }
        ranks = now;
        boolean same = sites.stream()
                .allMatch(site -> site.rank() == now.get(site.point().path()));
        if (same) {
            return config;
        }
        LoraLayers layers = new LoraLayers(config);
        List<String> targets = new ArrayList<>();
        Map<String, Integer> otherRanks = new LinkedHashMap<>();
        Map<String, Double> otherAlphas = new LinkedHashMap<>();
        for (LoraSite site : sites) {
            String path = site.point().path();
            int rank = now.get(path);
            if (rank == 0) {
                continue;
            }
            targets.add(path);
            double alpha = layers.alpha(path) * (eva.adjustScalingFactors() ? (double) rank / site.rank() : 1);
            if (rank != config.r()) {
                otherRanks.put(PatternRule.RANKS.whole(path), rank);
            }
            if (alpha != config.alpha()) {
                otherAlphas.put(PatternRule.RANKS.whole(path), alpha);
            }
        }
        return config.toBuilder()
                .targets(Targets.names(targets))
                .excludeModules(null)
                .layersToTransform(List.of())
                .layersPattern(List.of())
                .rankPattern(otherRanks)
                .alphaPattern(otherAlphas)
                .build();
    }

    private void check(SeenInputs.Input<IncrementalPca> input) {
        String path = input.sites().get(0).point().path();
        IncrementalPca pca = input.seen();
        if (!pca.ready()) {
            throw new IllegalArgumentException(
                    "init eva needs at least " + pca.k() + " tokens for the directions of what "
                            + path + " reads (r times eva.rho), got " + pca.seen()
                            + "; give more rows or calibration_rows, a smaller r or rho"
                            + (eva.useLabelMask() ? ", or use_label_mask: false, which counts all tokens" : ""));
        }
        for (double part : pca.explained()) {
            if (!Double.isFinite(part)) {
                throw new IllegalArgumentException(
                        "init eva needs what " + path
                                + " reads to be finite and not the same for all tokens: the parts of its variation are not finite");
            }
        }
    }

    @Override
    LoraStart start(LoraSite site, Tensor w) {
        Tensor a = seen.of(site).seen().first(site.rank(), eva.whiten());
        if (!a.isfinite().all().item_bool()) {
            throw new IllegalArgumentException(
                    "whiten must be false for " + site.point().path()
                            + ": some of its input's directions have no variation to divide by, got true");
        }
        return new LoraStart(a, Tensors.zeros(w.size(0), site.rank()));
    }

    @Override
    List<String> notes(LoraConfig begun) {
        List<String> notes = new ArrayList<>();
        LoraLayers layers = new LoraLayers(begun);
        Map<Integer, Integer> byRank = new TreeMap<>();
        List<String> without = new ArrayList<>();
        for (LoraSite site : sites) {
            String path = site.point().path();
            if (layers.adapts(path)) {
                byRank.merge(layers.rank(path), 1, Integer::sum);
            } else {
                without.add(path);
            }
        }
        notes.add(String.format(
                Locale.ROOT,
                "init eva has looked at %s, %,d of which count; rank: layers are now %s%s",
                looked(),
                used,
                byRank,
                without.isEmpty() ? "" : "; without an adapter: " + String.join(", ", without)));
        long moving =
                seen.inputs().stream().filter(input -> !standsStill(input)).count();
        if (moving > 0) {
            notes.add("init eva: the directions of " + moving + " of "
                    + seen.inputs().size() + " inputs still turned in the last batch by more than eva.tau "
                    + eva.tau() + " allows; more calibration_rows show more of them");
        }
        return notes;
    }

    @Override
    public void close() {
        super.close();
        if (counted != null) {
            counted.close();
        }
        seen.inputs().forEach(input -> input.seen().close());
    }
}
