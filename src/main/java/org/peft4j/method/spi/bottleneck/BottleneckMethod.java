package org.peft4j.method.spi.bottleneck;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SublayerPoint;

/**
 * Bottlenecks behind, or beside, sublayers of each block (Houlsby et al. 2019, Pfeiffer et al. 2020, He et al. 2021; Compacter, Karimi
 * Mahabadi et al. 2021), with a prefix and LoRA beside them and gates for all three if wanted (UniPELT, Mao et al. 2021). AdapterHub's
 * files keep settings, head and adapter apart and pickle them by default; ours are the two files that all methods here have, with tensors named {@code ….output.adapter_down.weight}.
 */
public final class BottleneckMethod implements Method<BottleneckConfig> {
    private static final String REFUSAL =
            "there is an activation between its two layers: no frozen weight has that effect";
    private static final String GATED = "its gates are made of each text, and " + REFUSAL;

    @Override
    public String name() {
        return "bottleneck";
    }

    @Override
    public String peftType() {
        return "BOTTLENECK";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public BottleneckConfig defaults() {
        return BottleneckConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.ofEntries(
                Map.entry("non_linearity", "activation"),
                Map.entry("init_weights", "init"),
                Map.entry("is_parallel", "parallel"),
                Map.entry("phm_layer", "phm"),
                Map.entry("phm_dim", "phm.dim"),
                Map.entry("phm_rank", "phm.rank"),
                Map.entry("prefix_length", "prefix.virtual_tokens"),
                Map.entry("use_gating", "gate"),
                Map.entry("shared_gating", "prefix.shared_gate"));
    }

    @Override
    public Map<String, BottleneckConfig> namedSettings() {
        Map<String, BottleneckConfig> named = new LinkedHashMap<>();
        named.put("seq_bn", BottleneckConfig.seqBn());
        named.put("double_seq_bn", BottleneckConfig.doubleSeqBn());
        named.put("par_bn", BottleneckConfig.parBn());
        named.put("scaled_par_bn", BottleneckConfig.scaledParBn());
        named.put("compacter", BottleneckConfig.compacter());
        named.put("compacter++", BottleneckConfig.compacterPlusPlus());
        named.put("mam", BottleneckConfig.mam());
        named.put("unipelt", BottleneckConfig.unipelt());
        named.put("adapter_plus", BottleneckConfig.adapterPlus());
        named.put("seq_bn_inv", BottleneckConfig.seqBnInv());
        named.put("double_seq_bn_inv", BottleneckConfig.doubleSeqBnInv());
        named.put("pfeiffer", BottleneckConfig.seqBn());
        named.put("houlsby", BottleneckConfig.doubleSeqBn());
        named.put("parallel", BottleneckConfig.parBn());
        return named;
    }

    @Override
    public Adapter attach(String name, BottleneckConfig config, Points points, long seed) {
        return build(name, config, points, seed).build();
    }

    private static Adapter.Builder build(String name, BottleneckConfig config, Points points, long seed) {
        List<SublayerPoint> sites = sites(config, points);
        Adapter.Builder builder = Adapter.builder(name, points.device());
        try {
            PhmLayers phm = config.phm() == null ? null : new PhmLayers(config.phm(), seed);
            List<Bottleneck> bottlenecks = sites.stream()
                    .map(point -> Bottleneck.fresh(builder, point, config, phm, seed))
                    .toList();
            if (phm != null) {
                phm.shared().forEach(builder::parameter);
            }
            for (Bottleneck bottleneck : bottlenecks) {
                bottleneck.parameters().forEach(builder::parameter);
                builder.claim(bottleneck.point(), bottleneck);
            }
            if (!config.invertible().isNone()) {
                Nice nice = Nice.fresh(config, points, seed);
                nice.parameters().forEach(builder::parameter);
                builder.claim(nice.point(), nice);
            }
            if (config.prefix() != null) {
                PrefixBeside.claim(builder, config.prefix(), config.gate(), points, seed);
            }
            LoraBeside lora = LoraBeside.of(config, points);
            if (lora != null) {
                lora.claim(builder, seed);
            }
            SavedModules.claim(builder, points, config.modulesToSave());
            return builder;
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
    }

    @Override
    public BottleneckConfig respelled(
            BottleneckConfig config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        LoraBeside lora = LoraBeside.of(config, points);
        return lora == null ? config : lora.respelled(from, to);
    }

    /** Where there is a bottleneck, in the model's order; each has a size that can be. */
    static List<SublayerPoint> sites(BottleneckConfig config, Points points) {
        List<SublayerPoint> all = points.all(SublayerPoint.class);
        if (all.isEmpty()) {
            throw new IllegalArgumentException(
                    "method: nothing can be put behind the sublayers of a model of the type " + points.modelType());
        }
        checkLayers("leave_out", config.leaveOut(), points);
        checkLayers("reduction_factor", config.reductionFactor().byLayer().keySet(), points);
        List<SublayerPoint> sites = all.stream()
                .filter(point -> switch (point.kind()) {
                    case ATTENTION -> config.mhAdapter();
                    case MLP -> config.outputAdapter();
                })
                .filter(point -> !config.leaveOut().contains(point.layer()))
                .toList();
        if (sites.isEmpty()) {
            throw new IllegalArgumentException(
                    "leave_out: must leave a layer, names all " + points.layers() + " of the model");
        }
        sites.forEach(point -> Bottleneck.inner(point, config));
        if (!config.invertible().isNone()) {
            Nice.point(config, points);
        }
        return sites;
    }

    private static void checkLayers(String setting, Collection<Integer> layers, Points points) {
        layers.stream().filter(layer -> layer >= points.layers()).findFirst().ifPresent(layer -> {
            throw new IllegalArgumentException(
                    setting + ": the model has no layer " + layer + ", its layers are 0 to " + (points.layers() - 1));
        });
    }

    @Override
    public ConfigKeys keys() {
        return BottleneckFiles.KEYS;
    }

    @Override
    public BottleneckConfig readConfig(AdapterFile file) throws MalformedFileException {
        return BottleneckFiles.read(file);
    }

    @Override
    public Adapter read(String name, BottleneckConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        Adapter.Builder builder = build(name, config, points, 0);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        return PeftTensors.filled(builder.build(), file, byPath, BottleneckMethod::key, notes);
    }

    private static String key(String path) {
        return path.startsWith(AdaptedLayers.SHARED) || path.startsWith(Nice.PATH) ? path : PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, Object> fileConfig(BottleneckConfig config, Points points) {
        LoraBeside lora = LoraBeside.of(config, points);
        return BottleneckFiles.write(lora == null ? config : lora.resolved());
    }

    @Override
    public Map<String, TensorData> fileTensors(BottleneckConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, BottleneckMethod::key);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(REFUSAL);
    }

    @Override
    public Optional<String> mergeRefusal(BottleneckConfig config) {
        return Optional.of(config.gate() ? GATED : REFUSAL);
    }

    @Override
    public long parameterCount(BottleneckConfig config, Points points) {
        List<SublayerPoint> sites = sites(config, points);
        long own = sites.stream()
                .mapToLong(point -> Bottleneck.elements(point, config))
                .sum();
        PhmConfig phm = config.phm();
        long rule = phm != null && phm.rule().sharedRule() ? PhmLayers.ruleElements(phm) : 0;
        SublayerPoint one = sites.get(0);
        long w = phm != null && phm.weights().sharedW()
                ? 2 * PhmLayers.wElements(phm, Bottleneck.inner(one, config), one.width())
                : 0;
        LoraBeside lora = LoraBeside.of(config, points);
        return own
                + rule
                + w
                + (config.invertible().isNone() ? 0 : Nice.elements(config, points))
                + (config.prefix() == null ? 0 : PrefixBeside.elements(config.prefix(), config.gate(), points))
                + (lora == null ? 0 : lora.elements())
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "a small network behind each block's MLP, h + W_up act(W_down norm(h + x)), or elsewhere (config)";
    }

    @Override
    public String settings(BottleneckConfig config) {
        return "a bottleneck of 1/" + config.reductionFactor() + " of the width"
                + (config.invertible().isNone() ? "" : ", and an invertible adapter");
    }
}
