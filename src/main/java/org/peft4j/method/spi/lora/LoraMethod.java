package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;
import org.peft4j.method.lora.LoraTargets;
import org.peft4j.method.spi.Calibration;
import org.peft4j.method.spi.Merging;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.TokenTables;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.nn.seam.TokenRows;

/** LoRA and rsLoRA: {@code y = W x + scale · B A dropout(x)} at linear layers, or a table's rows (Hu et al. 2021; Hugging Face PEFT). */
public final class LoraMethod implements Method<LoraConfig> {
    private static final String TOKENS = ".token_adapter" + TokenTables.ROWS;

    private static final String OTHER_RANK = ", the adapter's config says ";

    @Override
    public String name() {
        return "lora";
    }

    @Override
    public String peftType() {
        return "LORA";
    }

    @Override
    public LoraConfig defaults() {
        return LoraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of(
                "lora_alpha", "alpha",
                "lora_dropout", "dropout",
                "target_modules", "targets",
                "use_rslora", "rslora",
                "use_dora", "dora",
                "trainable_token_indices", "trainable_tokens",
                "init_lora_weights", "init",
                "eva_config", "eva",
                "corda_config", "corda",
                "lora_ga_config", "lora_ga");
    }

    @Override
    public LoraConfig withinTokens(LoraConfig config, Function<String, List<Integer>> encode) {
        return LoraInvocation.inTokens(config, encode);
    }

    @Override
    public Adapter attach(String name, LoraConfig config, Points points, long seed) {
        if (config.init().needsData()) {
            throw new IllegalArgumentException(
                    "init must be a start without data where there are no rows to look at, got "
                            + SeenData.name(config.init())
                            + ": it is made of what the model does with a run's first rows; train with it (peft4j train, Trainer)");
        }
        return begin(name, config, points, seed, null);
    }

    @Override
    public Optional<Calibration<LoraConfig>> calibration(LoraConfig config, Points points, long seed) {
        if (!config.init().needsData()) {
            return Optional.empty();
        }
        LoraConfig resolved = LoraTargets.resolve(config, points.modelType());
        List<LoraSite> sites = sites(resolved, points);
        LoraWithoutEffect.refuse(resolved, points, sites);
        return Optional.of(SeenData.of(resolved, sites, points, seed));
    }

    /** @param starts of linear layers, where they are made of what was seen; null: as the settings say */
    static Adapter begin(String name, LoraConfig config, Points points, long seed, LoraSite.@Nullable Starts starts) {
        LoraConfig resolved = LoraTargets.resolve(config, points.modelType());
        List<LoraSite> sites = sites(resolved, points);
        LoraWithoutEffect.refuse(resolved, points, sites);
        if (resolved.bias() != Bias.NONE && biases(resolved, sites, points).isEmpty()) {
            throw new IllegalArgumentException("bias must be none, got "
                    + resolved.bias().name().toLowerCase(Locale.ROOT)
                    + ": what it means of " + points.architecture() + " has no bias");
        }
        return build(name, resolved, sites, points, seed, starts).build();
    }

    private static List<LoraSite> sites(LoraConfig config, Points points) {
        LoraLayers layers = new LoraLayers(config);
        List<LoraSite> sites = LoraSite.points(points)
                .filter(point -> isCandidate(config, point) && layers.adapts(point.path()))
                .map(point -> new LoraSite(point, layers.rank(point.path()), layers.scale(point.path())))
                .toList();
        if (!(config.targets() instanceof Targets.None)) {
            checkTargets(config, points, sites);
        }
        List<LoraSite> all = new ArrayList<>(sites);
        for (LoraSite site : ParameterTargets.sites(config, layers, points)) {
            String path = site.point().path();
            if (sites.stream().anyMatch(other -> other.point().path().equals(path))) {
                throw new IllegalArgumentException("target_parameters must not name the weight of " + path
                        + ", which targets name, too: it is adapted once");
            }
            all.add(site);
        }
        return all;
    }

    /** "All linear layers" means neither the head nor embedding tables. */
    private static boolean isCandidate(LoraConfig config, Point<?> point) {
        return !(config.targets() instanceof Targets.None) && !(config.targets() instanceof Targets.AllLinear)
                || point instanceof LinearPoint linear && !linear.head();
    }

    // Each name in a list has to match a layer by itself: a misspelt one must not hide behind the others.
    private static void checkTargets(LoraConfig config, Points points, List<LoraSite> sites) {
        Targets targets = config.targets();
        List<String> paths = LoraSite.points(points).map(Point::path).toList();
        List<String> unmatched = targets.unmatched(paths);
        if (!unmatched.isEmpty()) {
            throw new IllegalArgumentException(Targets.names(unmatched).noMatch(paths));
        }
        if (sites.isEmpty()) {
            throw new IllegalArgumentException(
                    paths.stream().anyMatch(targets::matches)
                            ? "targets '" + targets.toTree() + "' match linear layers of " + points.architecture()
                                    + ", but exclude_modules and layers_to_transform leave none of them"
                            : targets.noMatch(paths));
        }
    }

    private static Adapter.Builder build(
            String name,
            LoraConfig config,
            List<LoraSite> sites,
            Points points,
            long seed,
            LoraSite.@Nullable Starts starts) {
        LoraInvocation.check(config, points);
        for (LoraSite site : sites) {
            site.check(config);
        }
        Adapter.Builder builder = Adapter.builder(name, points.device());
        try {
            claim(builder, config, sites, points, seed, starts);
            return builder;
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
    }

    private static void claim(
            Adapter.Builder builder,
            LoraConfig config,
            List<LoraSite> sites,
            Points points,
            long seed,
            LoraSite.@Nullable Starts starts) {
        sites.forEach(site -> site.claim(builder, config, points, seed, starts));
        if (!config.trainableTokens().isEmpty()) {
            EmbeddingPoint words = words(config, sites, points);
            TokenTables.claim(builder, words, config.trainableTokens(), words.path() + TOKENS, points);
        }
        for (TensorPoint bias : biases(config, sites, points)) {
            if (!builder.claims(bias)) {
                builder.claim(bias, SavedModules.copy(bias, "bias"));
            }
        }
        SavedModules.claim(builder, points, config.modulesToSave());
    }

    /** The table whose rows the trainable tokens replace. */
    private static EmbeddingPoint words(LoraConfig config, List<LoraSite> sites, Points points) {
        EmbeddingPoint words = points.all(EmbeddingPoint.class).stream()
                .filter(EmbeddingPoint::words)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "trainable_token_indices must be empty for a model without a table of words"));
        if (sites.stream().anyMatch(site -> site.point().path().equals(words.path()))) {
            throw new IllegalArgumentException("trainable_token_indices must be empty where targets have "
                    + words.path() + ": whether the new rows are adapted, too, nothing says");
        }
        TokenTables.check("trainable_token_indices", words, config.trainableTokens());
        return words;
    }

    private static List<TensorPoint> biases(LoraConfig config, List<LoraSite> sites, Points points) {
        List<TensorPoint> biases = new ArrayList<>();
        switch (config.bias()) {
            case NONE -> {}
            case ALL ->
                points.tensors().forEach((path, point) -> {
                    if (path.endsWith(".bias")) {
                        biases.add(point);
                    }
                });
            case LORA_ONLY ->
                sites.forEach(site -> {
                    TensorPoint bias = points.tensors().get(site.point().path() + ".bias");
                    if (bias != null) {
                        biases.add(bias);
                    }
                });
        }
        return biases;
    }

    @Override
    public List<LowRankPair> lowRankPairs(LoraConfig config, Adapter adapter) {
        return LoraPairs.of(config, adapter);
    }

    @Override
    public ConfigKeys keys() {
        return LoraKeys.TABLE;
    }

    @Override
    public LoraConfig readConfig(AdapterFile file) throws MalformedFileException {
        return LoraFiles.read(file);
    }

    @Override
    public Adapter read(String name, LoraConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        PeftTensors.noteTransposed(file, points, notes);
        Map<String, TensorData> byPath = PeftTensorNames.byPath(
                ExpertKeys.unwrapped(file, ParameterTargets.experts(config, points), points), PeftKeys.MODEL, points);
        List<LoraSite> sites = sites(config, file, byPath, points, notes);
        if (config.targets() instanceof Targets.Names names) {
            LoraLayers layers = new LoraLayers(config);
            for (String target : names.names()) {
                Targets one = Targets.names(target);
                boolean meant = LoraSite.points(points)
                        .filter(point -> one.matches(point.path()))
                        .allMatch(point -> layers.adapts(point.path())); // or matches nothing
                if (meant
                        && sites.stream()
                                .noneMatch(site -> one.matches(site.point().path()))) {
                    notes.add("target '" + target + "' of the adapter's config has no tensors in its file");
                }
            }
        }
        for (String parameter : config.targetParameters()) {
            if (sites.stream().noneMatch(site -> ParameterTargets.matches(parameter, site.point()))) {
                notes.add("target parameter '" + parameter + "' of the adapter's config has no tensors in its file");
            }
        }
        Adapter.Builder builder = build(name, config, sites, points, 0, null);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        Adapter adapter = builder.build();
        return PeftTensors.filled(adapter, file, byPath, ExpertKeys.withPrefix(adapter), notes);
    }

    @Override
    public LoraConfig respelled(
            LoraConfig config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        LoraConfig resolved = LoraTargets.resolve(config, points.modelType());
        List<String> paths = LoraSite.points(points)
                .filter(point -> isCandidate(resolved, point))
                .map(Point::path)
                .toList();
        LoraLayers layers = new LoraLayers(resolved);
        boolean same = paths.stream()
                        .allMatch(path -> means(layers, from.apply(path)).equals(means(layers, to.apply(path))))
                && ParameterTargets.mean(resolved, points, from).equals(ParameterTargets.mean(resolved, points, to));
        return same
                ? config
                : ParameterTargets.respelled(LoraFiles.oneByOne(resolved, paths, from, to), resolved, points, from, to);
    }

    /** What the settings mean for a module. */
    private static List<Object> means(LoraLayers layers, String path) {
        return List.of(layers.adapts(path), layers.rank(path), layers.alpha(path));
    }

    /** Where the file has tensors of LoRA; they count, whatever the config says of targets and ranks. */
    private static List<LoraSite> sites(
            LoraConfig config, AdapterFile file, Map<String, TensorData> byPath, Points points, List<String> notes)
            throws MalformedFileException {
        LoraLayers layers = new LoraLayers(LoraTargets.resolve(config, points.modelType()));
        List<LoraSite> sites = new ArrayList<>();
        for (Map.Entry<String, TensorData> entry : byPath.entrySet()) {
            String tensor = "tensor " + entry.getValue().name();
            String path = LoraSite.moduleOfA(entry.getKey());
            if (path == null) {
                continue;
            }
            Point<?> point = Stream.concat(LoraSite.points(points), ParameterTargets.experts(config, points).stream())
                    .filter(candidate -> candidate.path().equals(path))
                    .findFirst()
                    .orElseThrow(() -> PeftTensors.malformed(
                            file,
                            tensor + " adapts a linear layer or embedding table that " + points.architecture()
                                    + " does not have"));
            List<Long> shape = entry.getValue().shape();
            if (byPath.containsKey(path + ".weight")) {
                throw PeftTensors.malformed(
                        file,
                        tensor + " adapts a weight that the file replaces too, by "
                                + byPath.get(path + ".weight").name() + "; only one of them is supported");
            }
            if (point instanceof LinearPoint && ParameterTargets.name(config, point) && layers.adapts(path)) {
                throw new PeftConfigReader(file)
                        .wrong(
                                "target_parameters",
                                "must not name the weight of " + path + ", which target_modules names, too",
                                config.targetParameters());
            }
            long pairs = LoraSite.pairs(point);
            if (shape.size() != 2
                    || shape.get(0) < pairs
                    || shape.get(0) % pairs != 0
                    || shape.get(0) / pairs > LoraConfig.MAX_RANK) {
                throw PeftTensors.malformed(
                        file,
                        tensor + " must have shape [" + (pairs == 1 ? "" : pairs + " experts · ") + "r, "
                                + LoraSite.in(point) + "], has " + shape);
            }
            int rank = Math.toIntExact(shape.get(0) / pairs);
            String named = ParameterTargets.name(config, point) ? ParameterTargets.path(point) : path;
            if (rank != layers.rank(named) && notes.stream().noneMatch(note -> note.contains(OTHER_RANK))) {
                notes.add(tensor + " has rank " + rank + OTHER_RANK + layers.rank(named) + "; the tensors count");
            }
            double alpha = layers.alpha(named);
            sites.add(new LoraSite(point, rank, alpha / (config.rslora() ? Math.sqrt(rank) : rank)));
        }
        if (sites.isEmpty()) {
            throw PeftTensors.malformed(
                    file, "has no tensor named " + PeftKeys.MODEL + "….lora_A.weight" + PeftTensors.has(file));
        }
        return sites;
    }

    @Override
    public Map<String, Object> fileConfig(LoraConfig config, Points points) {
        LoraConfig resolved = LoraTargets.resolve(config, points.modelType());
        LoraLayers layers = new LoraLayers(resolved);
        UnaryOperator<String> written = PeftTensorNames.written(points);
        return LoraFiles.write(
                LoraFiles.written(resolved),
                Stream.concat(
                                LoraSite.points(points)
                                        .map(Point::path)
                                        .map(written)
                                        .filter(layers::adapts),
                                ParameterTargets.paths(resolved, points, written).stream())
                        .toList());
    }

    @Override
    public Map<String, TensorData> fileTensors(LoraConfig config, Adapter adapter) {
        UnaryOperator<String> key = ExpertKeys.withPrefix(adapter);
        Map<String, TensorData> tensors = PeftTensors.of(adapter, key);
        LoraSite.joinTaken(adapter, tensors, key);
        return tensors;
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.empty();
    }

    @Override
    public Optional<String> mergeRefusal(LoraConfig config) {
        return LoraInvocation.mergeRefusal(config);
    }

    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        Map<String, Tensor> changed = Merging.replacements(adapter);
        adapter.claims(LinearPoint.class).forEach((point, claims) -> Merging.linear(point, claims, points, changed));
        adapter.claims(ExpertsPoint.class)
                .forEach((point, claims) -> LoraOfExperts.merge(point, claims, points, changed));
        adapter.claims(EmbeddingPoint.class).forEach((point, claims) -> {
            if (claims.get(0) instanceof TokenRows rows) {
                TokenTables.merge(point, rows, points, changed);
                return;
            }
            String weight = point.path() + ".weight";
            Tensor delta = ((LoraSite.TableUpdate) claims.get(0)).ofTable();
            changed.put(weight, Merging.changed(weight, points, value -> value.add(delta)));
        });
        return changed;
    }

    @Override
    public long parameterCount(LoraConfig config, Points points) {
        LoraConfig resolved = LoraTargets.resolve(config, points.modelType());
        List<LoraSite> sites = sites(resolved, points);
        long count = sites.stream().mapToLong(site -> site.elements(config)).sum()
                + SavedModules.elements(points, config.modulesToSave(), biases(resolved, sites, points));
        if (!config.trainableTokens().isEmpty()) {
            count += config.trainableTokens().size()
                    * words(resolved, sites, points).width();
        }
        return count;
    }

    @Override
    public String summary() {
        return "A and B of rank r at linear layers: y = W x + scale · B A x";
    }

    @Override
    public String settings(LoraConfig config) {
        return "r " + config.r() + ", the model's usual targets";
    }
}
