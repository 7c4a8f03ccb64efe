package org.peft4j.method.spi.xlora;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.xlora.XLoraConfig;
import org.peft4j.nn.Dropout;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.LowRankMixture;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.Routing;
import org.peft4j.nn.seam.SequenceRows;

/**
 * X-LoRA (Buehler and Buehler 2024; Hugging Face PEFT): a classifier reads the last hidden states of a pass without adapters and mixes
 * frozen LoRA adapters for each token. In files the experts are adapters of their own, in folders 0, 1, … of the adapter's directory.
 */
public final class XLoraMethod implements Method<XLoraConfig> {
    private static final String HIDDEN_SIZE = "hidden_size";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed(
                    HIDDEN_SIZE,
                    AdapterFiles.INSIDE,
                    "enable_softmax",
                    "enable_softmax_topk",
                    "softmax_temperature",
                    "layerwise_scalings",
                    "top_k_lora",
                    "xlora_depth",
                    "xlora_size",
                    "xlora_dropout_p",
                    "use_trainable_adapters",
                    "scaling_pass_value",
                    "global_scaling_weight")
            .build();

    @Override
    public String name() {
        return "xlora";
    }

    @Override
    public String peftType() {
        return "XLORA";
    }

    @Override
    public XLoraConfig defaults() {
        return XLoraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of(
                "xlora_depth", "depth", "xlora_size", "size", "xlora_dropout_p", "dropout", "top_k_lora", "top_k");
    }

    /** The path of an expert's tensor within the adapter, where it is trained: PEFT's, with the expert's number. */
    static String path(String own, int expert) {
        int dot = own.lastIndexOf('.');
        return own.substring(0, dot) + "." + expert + own.substring(dot);
    }

    @Override
    public Adapter attach(String name, XLoraConfig config, Points points, long seed) {
        checkAdapters(config);
        if (config.depth() == 1 && config.size() != defaults().size()) {
            throw new IllegalArgumentException(
                    "size must be left out with depth 1: a classifier of one layer has nothing"
                            + " between layers, got " + config.size());
        }
        if (config.depth() == 1 && config.dropout() != defaults().dropout()) {
            throw new IllegalArgumentException(
                    "dropout must be left out with depth 1: a classifier of one layer has nothing"
                            + " between layers, got " + config.dropout());
        }
        if (!config.enableSoftmax() && config.softmaxTemperature() != 1) {
            throw new IllegalArgumentException(
                    "softmax_temperature must be left out where enable_softmax is false, got "
                            + config.softmaxTemperature());
        }
        if (config.depth() > 1) {
            Dropout.check("dropout", config.dropout());
        }
        Experts experts = Experts.read(config.adapters(), points, new ArrayList<>());
        experts.checkDropout();
        return build(name, config, experts, points, seed);
    }

    private static void checkAdapters(XLoraConfig config) {
        if (config.adapters().isEmpty()) {
            throw new IllegalArgumentException(
                    "adapters must name at least one LoRA adapter, by a name and its directory");
        }
    }

    /** @param experts will be the adapter's */
    private static Adapter build(String name, XLoraConfig config, Experts experts, Points points, long seed) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        try {
            List<LinearPoint> layers = experts.layers(points);
            Map<String, Parameter> trained = new LinkedHashMap<>();
            Classifier classifier = new Classifier(
                    builder, config, experts, points.hiddenSize(), layers.size(), points.device(), trained, seed);
            for (int i = 0; i < layers.size(); i++) {
                builder.claim(
                        layers.get(i),
                        new Mixture(classifier, i, parts(builder, config, experts, layers.get(i), trained)));
            }
            SavedModules.claim(builder, points, config.modulesToSave());
        } catch (RuntimeException e) {
            builder.discard();
            experts.close(); // twice does nothing
            throw e;
        }
        return builder.build();
    }

    private static List<LowRankMixture.Part> parts(
            Adapter.Builder builder,
            XLoraConfig config,
            Experts experts,
            LinearPoint layer,
            Map<String, Parameter> trained) {
        List<LowRankMixture.Part> parts = new ArrayList<>();
        for (int e = 0; e < experts.all().size(); e++) {
            LowRank frozen = Experts.at(experts.all().get(e).adapter(), layer);
            if (frozen != null) {
                LowRank update = config.useTrainableAdapters()
                        ? LowRank.of(
                                copy(builder, layer.path() + ".lora_A.weight", "lora_A", frozen.a(), e, trained),
                                copy(builder, layer.path() + ".lora_B.weight", "lora_B", frozen.b(), e, trained),
                                frozen.scale(),
                                frozen.dropout())
                        : frozen;

                parts.add(new LowRankMixture.Part(e, update));
            }
        }
        return parts;
    }

    private static Parameter copy(
            Adapter.Builder builder,
            String own,
            String group,
            Tensor value,
            int expert,
            Map<String, Parameter> trained) {
        Parameter copy = Parameter.of(path(own, expert), group, () -> value);
        builder.parameter(copy);
        trained.put(copy.path(), copy);
        return copy;
    }

    /** What the experts add at one of the adapted layers. */
    private record Mixture(Classifier routing, int layer, List<LowRankMixture.Part> parts) implements LowRankMixture {
        @Override
        public Tensor weights(Tensor x, SequenceRows rows, ForwardContext context) {
            return routing.ofLayer(context.weights(routing, rows.first(), rows.last(), rows.packing()), layer);
        }
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public XLoraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        Map<String, Path> adapters = adapters(file, config);
        try {
            return XLoraConfig.builder()
                    .adapters(adapters)
                    .depth(config.count("xlora_depth", 1))
                    .size(config.count("xlora_size", 2048))
                    .dropout(config.number("xlora_dropout_p", 0.2))
                    .layerwiseScalings(config.flag("layerwise_scalings"))
                    .enableSoftmax(config.flag("enable_softmax", true))
                    .enableSoftmaxTopk(config.flag("enable_softmax_topk"))
                    .softmaxTemperature(config.number("softmax_temperature", 1))
                    .topK(config.get("top_k_lora") == null ? null : (Integer) config.count("top_k_lora", 0))
                    .globalScalingWeight(config.number("global_scaling_weight", 1))
                    .scalingPassValue(config.number("scaling_pass_value", 0))
                    .useTrainableAdapters(config.flag("use_trainable_adapters"))
                    .modulesToSave(config.texts("modules_to_save"))
                    .build();
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static Map<String, Path> adapters(AdapterFile file, PeftConfigReader config) throws MalformedFileException {
        if (file.inside().isEmpty()) {
            throw config.wrong(
                    AdapterFiles.INSIDE,
                    "must name the experts \"0\", \"1\", …, as PEFT needs it, each with its place",
                    config.get(AdapterFiles.INSIDE));
        }
        Map<String, Path> found = new LinkedHashMap<>();
        file.inside().forEach(expert -> found.put(String.valueOf(found.size()), expert.directory()));
        return found;
    }

    @Override
    public Adapter read(String name, XLoraConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        PeftConfigReader reader = new PeftConfigReader(file);
        if (reader.get(HIDDEN_SIZE) != null && reader.count(HIDDEN_SIZE, 0) != points.hiddenSize()) {
            throw reader.wrong(
                    HIDDEN_SIZE,
                    "must be " + points.hiddenSize() + ", the width of this model",
                    reader.get(HIDDEN_SIZE));
        }
        Map<String, TensorData> byPath = new LinkedHashMap<>();
        PeftTensorNames.byPath(file, PeftKeys.MODEL, points)
                .forEach((path, data) -> byPath.put(
                        path.startsWith(PeftKeys.INPUT + Classifier.PATH)
                                ? path.substring(PeftKeys.INPUT.length())
                                : path,
                        data));
        Adapter adapter = build(name, config, experts(file, points, notes), points, 0);
        try {
            checkWhole(adapter, file, byPath);
        } catch (MalformedFileException e) {
            adapter.close();
            throw e;
        }
        adapter.parameters().values().stream()
                .filter(XLoraMethod::isOfAnExpert) // which have their values from the experts' own files
                .forEach(parameter ->
                        byPath.put(parameter.path(), PeftTensors.data(parameter.path(), parameter.value())));
        return PeftTensors.filled(adapter, file, byPath, key(adapter), notes);
    }

    /** PEFT 0.21 loses tensors of the classifier while it saves: those whose number is that of an expert. */
    private static void checkWhole(Adapter adapter, AdapterFile file, Map<String, TensorData> byPath)
            throws MalformedFileException {
        List<String> missing = adapter.parameters().keySet().stream()
                .filter(path -> path.startsWith(Classifier.PATH) && !byPath.containsKey(path))
                .map(path -> PeftKeys.INPUT + path)
                .toList();
        if (!missing.isEmpty()) {
            throw PeftTensors.malformed(
                    file,
                    "the classifier lacks " + String.join(", ", missing) + PeftTensors.has(file)
                            + ". PEFT's save_pretrained leaves out every tensor of it whose number an expert has; save"
                            + " them in PEFT by hand, from model.state_dict()");
        }
    }

    private static Experts experts(AdapterFile file, Points points, List<String> notes) {
        Map<String, AdapterFile> named = new LinkedHashMap<>();
        file.inside().forEach(expert -> named.put(String.valueOf(named.size()), expert));
        try {
            return Experts.of(named, points, notes);
        } catch (ConfigException e) {
            throw new MalformedFileException(file.directory(), -1, String.valueOf(e.getMessage()), e);
        }
    }

    private static boolean isOfAnExpert(Parameter parameter) {
        return parameter.path().contains(".lora_A.") || parameter.path().contains(".lora_B.");
    }

    private static UnaryOperator<String> key(Adapter adapter) {
        UnaryOperator<String> others = PeftTensors.key(PeftKeys.MODEL, adapter);
        return path -> path.startsWith(Classifier.PATH) ? PeftKeys.INPUT + path : others.apply(path);
    }

    @Override
    public Map<String, Object> fileConfig(XLoraConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        Map<String, String> inside = new LinkedHashMap<>();
        for (int i = 0; i < config.adapters().size(); i++) {
            inside.put(String.valueOf(i), String.valueOf(i)); // folders of the adapter's directory
        }
        file.put(AdapterFiles.INSIDE, inside);
        file.put("enable_softmax", config.enableSoftmax());
        file.put("enable_softmax_topk", config.enableSoftmaxTopk());
        file.put("global_scaling_weight", config.globalScalingWeight());
        file.put(HIDDEN_SIZE, points.hiddenSize());
        file.put("layerwise_scalings", config.layerwiseScalings());
        file.put("scaling_pass_value", config.scalingPassValue());
        file.put("softmax_temperature", config.softmaxTemperature());
        file.put("top_k_lora", config.topK());
        file.put("use_trainable_adapters", config.useTrainableAdapters());
        file.put("xlora_depth", config.depth());
        file.put("xlora_dropout_p", config.dropout());
        file.put("xlora_size", config.size());
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(XLoraConfig config, Adapter adapter) {
        UnaryOperator<String> key = key(adapter);
        Map<String, TensorData> tensors = PeftTensors.of(adapter, key);
        adapter.parameters().values().stream()
                .filter(XLoraMethod::isOfAnExpert)
                .forEach(parameter -> tensors.remove(key.apply(parameter.path())));
        return tensors;
    }

    @Override
    public List<AdapterStore.Loaded> inside(Adapter adapter) {
        Routing routing = Objects.requireNonNull(adapter.routing());
        return ((Classifier) routing).experts().all();
    }

    @Override
    public boolean peftSavesModules() {
        return false;
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(
                "each token has weights of its own for the experts, so that there is no one update of a weight");
    }

    @Override
    public long parameterCount(XLoraConfig config, Points points) {
        checkAdapters(config);
        int count = config.adapters().size();
        long whole = SavedModules.elements(points, config.modulesToSave());
        if (!config.layerwiseScalings() && !config.useTrainableAdapters()) {
            return Classifier.elements(config, points.hiddenSize(), count, 1) + whole;
        }
        try (Experts experts = Experts.read(config.adapters(), points, new ArrayList<>())) {
            return Classifier.elements(
                            config,
                            points.hiddenSize(),
                            count,
                            experts.layers(points).size())
                    + (config.useTrainableAdapters() ? experts.elements() : 0)
                    + whole;
        }
    }

    @Override
    public String summary() {
        return "a classifier that mixes frozen LoRA adapters for each token, by a first pass without them";
    }

    @Override
    public String settings(XLoraConfig config) {
        return config.adapters().size() + " experts, depth " + config.depth();
    }
}
