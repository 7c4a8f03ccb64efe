package org.peft4j.method.spi.adalora;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.adalora.AdaLoraConfig;
import org.peft4j.method.adalora.RankBudget;
import org.peft4j.method.adalora.RankImportance;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.ops.Device;

/**
 * AdaLoRA (Zhang et al. 2023; Hugging Face PEFT): {@code y = W x + alpha / (init_r + 1e-5) B (E ∘ A) x}, whose ranks a
 * {@link RankAllocator} shares among the layers while they train. Files have the ranks that are left.
 */
public final class AdaLoraMethod extends LinearMethod<AdaLoraConfig> {
    private static final String E = "lora_E";
    private static final String A = "lora_A";
    private static final String B = "lora_B";

    private static final double STD = 0.02;
    private static final double EPSILON = 1e-5; // PEFT's, beside the rank in the scale

    @Override
    public String name() {
        return "adalora";
    }

    @Override
    public String peftType() {
        return "ADALORA";
    }

    @Override
    public AdaLoraConfig defaults() {
        return AdaLoraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of(
                "deltaT", "delta_t",
                "lora_alpha", "alpha",
                "lora_dropout", "dropout",
                "r", "init_r",
                "target_modules", "targets");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(E, A, B);
    }

    @Override
    protected void adapt(AdaLoraConfig config, AdaptedLayers layers) {
        checkPattern(config, layers);
        double scale = config.alpha() / (config.budget().initR() + EPSILON);
        List<Triplets> all = new ArrayList<>();
        for (AdaptedLayers.Layer layer : layers.all()) {
            long r = rank(config, layer.path());
            Parameter e = layer.trained(E, (seed, path) -> Tensors.zeros(r, 1));
            Parameter a = layer.trained(A, (seed, path) -> Init.normal(seed, path, STD, r, layer.in()));
            Parameter b = layer.trained(B, (seed, path) -> Init.normal(seed, path, STD, layer.out(), r));
            Triplets triplets = new Triplets(e, a, b);
            all.add(triplets);
            if (r > 0) {
                layer.claim(triplets.update(scale, config.dropout()));
            }
        }
        layers.hook(new RankAllocator(config, all, !config.rankPattern().isEmpty()));
    }

    private static void checkPattern(AdaLoraConfig config, AdaptedLayers layers) {
        Set<String> names = new TreeSet<>(config.rankPattern().keySet());
        if (!names.isEmpty() && !layers.read()) {
            throw new IllegalArgumentException(
                    "rank_pattern must be left out: it says which ranks a run has found, got " + names.size()
                            + " layers");
        }
        layers.all().forEach(layer -> names.remove(layer.path(E)));
        if (!names.isEmpty()) {
            throw new IllegalArgumentException("rank_pattern must name layers that the adapter has, got '"
                    + names.iterator().next() + "'");
        }
    }

    private static long rank(AdaLoraConfig config, String path) {
        List<Boolean> left = config.rankPattern().get(path + "." + E);
        return left == null
                ? config.budget().initR()
                : left.stream().filter(kept -> kept).count();
    }

    @Override
    protected long elements(AdaLoraConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer -> rank(config, layer.path()) * (layer.in() + layer.out() + 1))
                .sum();
    }

    @Override
    public AdaLoraConfig goingOn(AdaLoraConfig file, AdaLoraConfig wanted, List<String> notes) {
        RankBudget times = wanted.budget();
        return file.rankPattern().isEmpty() // else no rank is taken any more
                ? file.withBudget(
                        file.budget().withTimes(times.tinit(), times.tfinal(), times.deltaT(), times.totalStep()))
                : file;
    }

    @Override
    public ConfigKeys keys() {
        return AdaLoraKeys.TABLE;
    }

    @Override
    public AdaLoraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        if (config.get("total_step") == null) {
            throw config.wrong("total_step", "must be a number of steps, as PEFT wants it", null);
        }
        try {
            return new AdaLoraConfig(
                    new RankBudget(
                            config.count("target_r", 8),
                            config.count("init_r", 12),
                            config.count("tinit", 0),
                            config.count("tfinal", 0),
                            config.count("deltaT", 1),
                            config.count("total_step", 0)),
                    config.number("lora_alpha", 8),
                    config.number("lora_dropout", 0),
                    new RankImportance(config.number("beta1", 0.85), config.number("beta2", 0.85)),
                    config.number("orth_reg_weight", 0.5),
                    pattern(config),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    /** By {@code path.lora_E}; older files have the adapter's name behind it. */
    private static Map<String, List<Boolean>> pattern(PeftConfigReader config) throws MalformedFileException {
        String key = "rank_pattern";
        Object value = config.get(key);
        if (value == null) {
            return Map.of();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw config.wrong(key, "must be an object", value);
        }
        Map<String, List<Boolean>> pattern = new LinkedHashMap<>();
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            String name = String.valueOf(entry.getKey());
            int end = name.lastIndexOf("." + E);
            String rest = end < 0 ? "" : name.substring(end + E.length() + 1);
            boolean named = end > 0 && (rest.isEmpty() || rest.lastIndexOf('.') == 0);
            if (!named || !(entry.getValue() instanceof List<?> list)) {
                throw config.wrong(
                        key,
                        "must have a list of true and false for each module's lora_E",
                        Map.of(name, String.valueOf(entry.getValue())));
            }
            List<Boolean> left = new ArrayList<>();
            for (Object one : list) {
                if (!(one instanceof Boolean flag)) {
                    throw config.wrong(key, "must have a list of true and false for each module's lora_E", list);
                }
                left.add(flag);
            }
            pattern.put(name.substring(0, end + E.length() + 1), left);
        }
        return pattern;
    }

    @Override
    public AdaLoraConfig respelled(
            AdaLoraConfig config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        Map<String, List<Boolean>> pattern = new LinkedHashMap<>(config.rankPattern());
        for (LinearPoint point : points.linears()) { // all are taken out before any is put in
            pattern.remove(from.apply(point.path()) + "." + E);
        }
        for (LinearPoint point : points.linears()) {
            List<Boolean> left = config.rankPattern().get(from.apply(point.path()) + "." + E);
            if (left != null) {
                pattern.put(to.apply(point.path()) + "." + E, left);
            }
        }
        return super.respelled(config, points, from, to).withRankPattern(pattern);
    }

    @Override
    public AdaLoraConfig found(AdaLoraConfig config, Adapter adapter) {
        RankAllocator allocator = allocator(adapter);
        RankBudget budget = config.budget();
        int least = budget.tinit() + budget.tfinal() + 1; // what PEFT takes of an adapter that no run has trained
        int total = Math.toIntExact(allocator.total() == 0 ? least : allocator.total());
        Map<String, List<Boolean>> pattern = allocator.pattern();
        return config.withBudget(budget.withTimes(budget.tinit(), budget.tfinal(), budget.deltaT(), total))
                .withRankPattern(pattern.isEmpty() ? config.rankPattern() : pattern);
    }

    private static RankAllocator allocator(Adapter adapter) {
        return adapter.hooks().stream()
                .filter(RankAllocator.class::isInstance)
                .map(RankAllocator.class::cast)
                .findFirst()
                .orElseThrow();
    }

    @Override
    public Map<String, TensorData> fileTensors(AdaLoraConfig config, Adapter adapter) {
        UnaryOperator<String> key = PeftTensors.key(PeftKeys.MODEL, adapter);
        Map<String, TensorData> tensors = new LinkedHashMap<>(PeftTensors.of(adapter, key));
        allocator(adapter).pattern().forEach((pathOfE, left) -> {
            String layer = pathOfE.substring(0, pathOfE.length() - E.length());
            for (String suffix : suffixes()) {
                Parameter whole = adapter.parameters().get(layer + suffix);
                String name = key.apply(whole.path());
                tensors.put(name, cut(name, whole, left, suffix.equals(B) ? 1 : 0));
            }
        });
        return tensors;
    }

    /** What is left of a tensor whose ranks are the rows or columns. */
    private static TensorData cut(String name, Parameter whole, List<Boolean> left, int dimension) {
        long[] ranks = IntStream.range(0, left.size())
                .filter(left::get)
                .mapToLong(k -> k)
                .toArray();
        try (PointerScope scope = new PointerScope()) {
            Tensor value = Device.CPU.move(whole.value().detach());
            return PeftTensors.data(
                    name,
                    value.index_select(dimension, Tensors.ofLongs(ranks, ranks.length))
                            .contiguous());
        }
    }

    @Override
    protected Map<String, Object> fileConfig(AdaLoraConfig config) {
        RankBudget budget = config.budget();
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        AdaLoraKeys.putUnset(file);
        file.put("beta1", config.importance().beta1());
        file.put("beta2", config.importance().beta2());
        file.put("deltaT", budget.deltaT());
        file.put("init_r", budget.initR());
        file.put("lora_alpha", LinearKeys.number(config.alpha()));
        file.put("lora_dropout", config.dropout());
        file.put("orth_reg_weight", config.orthRegWeight());
        file.put("rank_pattern", config.rankPattern().isEmpty() ? null : config.rankPattern());
        file.put("target_r", budget.targetR());
        file.put("tfinal", budget.tfinal());
        file.put("tinit", budget.tinit());
        file.put("total_step", budget.totalStep());
        return file;
    }

    @Override
    public String summary() {
        return "A, B and a diagonal E, whose ranks move to the layers that need them: y = W x + (alpha / init_r) B E A x";
    }

    @Override
    public String settings(AdaLoraConfig config) {
        return "rank " + config.budget().initR() + " at the start, the model's usual targets";
    }
}
