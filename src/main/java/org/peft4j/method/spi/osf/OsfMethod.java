package org.peft4j.method.spi.osf;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Targets;
import org.peft4j.method.osf.OsfConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PatternRule;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.TruncatedSvd;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/**
 * OSF (Nayak et al. 2025; Hugging Face PEFT): the largest singular values of W stay, the others and their vectors are trained, {@code W' =
 * U_k S_k V_k + U diag(s) V}. Files have what is trained; the rest is the base's, whose decomposition a reader makes again.
 */
public final class OsfMethod extends LinearMethod<OsfConfig> {
    private static final String GROUP = "osf_svd_params";
    private static final String U = GROUP + ".U_low";
    private static final String S = GROUP + ".S_low";
    private static final String V = GROUP + ".V_low";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed("effective_rank", "rank_pattern")
            .harmless("how the trained part began, which the file's tensors replace", "init_weights")
            .harmless("PEFT itself does not look at it", "target_svd_config")
            .build();

    @Override
    public String name() {
        return "osf";
    }

    @Override
    public String peftType() {
        return "OSF";
    }

    @Override
    public OsfConfig defaults() {
        return OsfConfig.defaults();
    }

    @Override
    protected Targets usual(Targets targets, String modelType) {
        return UsualOsfTargets.resolve(targets, modelType);
    }

    @Override
    protected List<String> suffixes() {
        return List.of(U, S, V);
    }

    @Override
    protected PatternRule patternRule() {
        return PatternRule.SEARCH;
    }

    @Override
    protected OsfConfig withPatterns(OsfConfig config, PatternRule.Change change) {
        return config.withRankPattern(change.apply("rank_pattern", config.rankPattern()));
    }

    @Override
    protected void adapt(OsfConfig config, AdaptedLayers layers) {
        Function<String, Optional<Double>> pattern = PatternRule.SEARCH.of(config.rankPattern());
        List<Subspace> all = new ArrayList<>();
        for (AdaptedLayers.Layer layer : layers.all()) {
            long side = Math.min(layer.in(), layer.out());
            long kept = kept(config, pattern, layer.path(), side, layers.read());
            try (PointerScope scope = new PointerScope()) {
                adapt(layer, side, kept, all);
            }
        }
        layers.hook(new OrthogonalGradients(List.copyOf(all)));
    }

    private static void adapt(AdaptedLayers.Layer layer, long side, long kept, List<Subspace> all) {
        TruncatedSvd whole = TruncatedSvd.exact(layer.weight(), side);
        long trained = side - kept;
        Tensor low = whole.u().narrow(1, kept, trained);
        Tensor values = whole.s().narrow(0, kept, trained);
        Tensor right = whole.vt().narrow(0, kept, trained);
        Parameter u = layer.trained(U, (seed, path) -> Device.CPU.move(low));
        Parameter s = layer.trained(S, (seed, path) -> Device.CPU.move(values));
        Parameter v = layer.trained(V, (seed, path) -> Device.CPU.move(right));
        if (trained == 0) {
            return; // of a file: all of the layer stays
        }
        Subspace subspace = new Subspace(
                u,
                s,
                v,
                layer.constant(
                        "osf_low", false, () -> low.mul(values.unsqueeze(0)).matmul(right), layer.out(), layer.in()),
                layer.constant("osf_kept_U", false, () -> whole.u().narrow(1, 0, kept), layer.out(), kept),
                layer.constant("osf_kept_V", false, () -> whole.vt().narrow(0, 0, kept), kept, layer.in()));
        all.add(subspace);
        layer.claim(subspace);
    }

    /**
     * How many singular values of a layer stay.
     *
     * @param side the smaller of its sides, which is how many there are
     * @param whole whether all may stay, as PEFT lets them
     */
    private static long kept(
            OsfConfig config, Function<String, Optional<Double>> pattern, String path, long side, boolean whole) {
        Optional<Double> own = pattern.apply(path);
        Double rank = own.orElse(config.effectiveRank());
        String setting = own.isPresent() ? "rank_pattern" : "effective_rank";
        long kept = rank == null ? side / 2 : (long) (rank < 1 ? side * rank : Math.min(side, rank));
        if (kept == 0 || kept == side && !whole) {
            throw new IllegalArgumentException(
                    setting + " must leave singular values of " + path + ", which has " + side
                            + ", on both sides: " + (kept == 0 ? "none would stay" : "none would be trained") + ", got "
                            + (rank == null ? "half of them" : LinearKeys.number(rank))
                            + "; choose another one, or name the layer"
                            + " in rank_pattern or leave it out of targets");
        }
        return kept;
    }

    @Override
    protected long elements(OsfConfig config, List<LinearPoint> layers) {
        Function<String, Optional<Double>> pattern = PatternRule.SEARCH.of(config.rankPattern());
        return layers.stream()
                .mapToLong(layer -> {
                    long side = Math.min(layer.in(), layer.out());
                    return (side - kept(config, pattern, layer.path(), side, false)) * (layer.in() + layer.out() + 1);
                })
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public OsfConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        Map<String, Double> pattern = new LinkedHashMap<>(config.numbers("rank_pattern"));
        Map<?, ?> raw = config.get("rank_pattern") instanceof Map<?, ?> map ? map : Map.of();
        for (String key : pattern.keySet()) {
            pattern.put(key, rank(config, "rank_pattern", raw.get(key)));
        }
        Object rank = config.get("effective_rank");
        try {
            return new OsfConfig(
                    rank == null ? null : rank(config, "effective_rank", rank),
                    pattern,
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    /** A rank as PEFT takes it: 1 is one singular value, 1.0 all of them; parts of a number above are cut off. */
    private static double rank(PeftConfigReader config, String key, @Nullable Object value)
            throws MalformedFileException {
        if (!(value instanceof Number number)) {
            throw config.wrong(key, "must be a number", value);
        }
        double rank = number.doubleValue();
        boolean share = value instanceof Double || value instanceof Float || value instanceof java.math.BigDecimal;
        return share && rank == 1 ? Integer.MAX_VALUE : rank > 1 ? Math.floor(Math.min(rank, Integer.MAX_VALUE)) : rank;
    }

    @Override
    protected Map<String, Object> fileConfig(OsfConfig config) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        file.put("effective_rank", config.effectiveRank() == null ? null : LinearKeys.number(config.effectiveRank()));
        file.put("init_weights", true);
        Map<String, Object> pattern = new LinkedHashMap<>();
        config.rankPattern().forEach((key, rank) -> pattern.put(key, LinearKeys.number(rank)));
        file.put("rank_pattern", pattern.isEmpty() ? null : pattern);
        file.put("target_svd_config", null);
        return file;
    }

    @Override
    public String summary() {
        return "the smaller singular values of W and their vectors, each step orthogonal to those of the larger: y = (W_k + U diag(s) V) x";
    }

    @Override
    public String settings(OsfConfig config) {
        return (config.effectiveRank() == null
                        ? "half of the singular values"
                        : "effective_rank " + config.effectiveRank())
                + ", the model's usual targets";
    }
}
