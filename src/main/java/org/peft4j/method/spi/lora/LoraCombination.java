package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.Combination;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.ReplicatedLayers;
import org.peft4j.method.spi.TruncatedSvd;
import org.peft4j.nn.Tensors;

/**
 * Several LoRA adapters as one, from their files alone: no model is needed.
 *
 * @param config {@code adapter_config.json} of the result
 * @param tensors its tensors
 */
public record LoraCombination(Map<String, @Nullable Object> config, List<TensorData> tensors) {
    private static final List<List<String>> NAMES =
            List.of(List.of(".lora_A.weight", ".lora_B.weight"), List.of(".lora_embedding_A", ".lora_embedding_B"));

    /** How they are combined; {@link org.peft4j.Combine} says what the settings mean. */
    public record Settings(Combination how, int rank, double density, boolean bySum, long seed) {}

    /** One of the adapters and what its update is multiplied with. */
    public record Part(AdapterFile file, double weight) {}

    /** An adapter with its settings. */
    private record Own(AdapterFile file, LoraConfig config, LoraLayers layers, double weight) {
        static Own of(Part part) throws MalformedFileException {
            AdapterFile file = part.file();
            if (!"LORA".equals(file.config().get("peft_type"))) {
                throw PeftTensors.malformed(
                        file,
                        "only LoRA adapters can be combined, this is "
                                + file.config().get("peft_type")
                                + remedy(file.config().get("peft_type")));
            }
            LoraKeys.TABLE.check(file.directory().resolve(AdapterFiles.CONFIG), file.config());
            LoraConfig config = LoraFiles.read(file);
            String wrong = config.dora()
                    ? "use_dora"
                    : config.loraBias()
                            ? "lora_bias"
                            : config.bias() != Bias.NONE
                                    ? "bias"
                                    : config.trainableTokens().isEmpty() ? null : "trainable_token_indices";
            if (!config.targetParameters().isEmpty()) {
                throw PeftTensors.malformed(
                        file,
                        "adapters with target_parameters cannot be combined, as in PEFT: which tensor of experts A and B are of"
                                + " stands in no name");
            }
            if (config.activated() || !config.layerReplication().isNone()) {
                throw PeftTensors.malformed(
                        file,
                        "adapters with " + (config.activated() ? "alora_invocation_tokens" : ReplicatedLayers.KEY)
                                + " cannot be combined: one adapter acts on one choice of rows, and of layers");
            }
            if (wrong != null) {
                throw PeftTensors.malformed(
                        file,
                        "adapters with " + wrong + " cannot be combined, only those of A and B; convert it first"
                                + " (peft4j convert)");
            }
            return new Own(file, config, new LoraLayers(resolved(config)), part.weight());
        }

        /** Patterns are asked for ranks and alphas alone, so any targets do. */
        private static LoraConfig resolved(LoraConfig config) {
            return config.targets() instanceof Targets.ModelDefault
                    ? config.toBuilder()
                            .targets(Targets.allLinear())
                            .layersToTransform(List.of())
                            .layersPattern(List.of())
                            .build()
                    : config;
        }

        Tensor tensor(String name) {
            TensorData data = file.tensors().get(name);
            return Tensors.ofFloats(
                    data.toFloats(),
                    data.shape().stream().mapToLong(Long::longValue).toArray());
        }

        /** {@code alpha / r} or {@code alpha / √r} with the rank that the tensors have. */
        double scale(String module, long rank) {
            return layers.alpha(module) / (config.rslora() ? Math.sqrt(rank) : rank);
        }
    }

    /** A and B of a module: the update is their product. */
    private record Factors(Tensor a, Tensor b) {}

    /**
     * Combines them.
     *
     * @throws MalformedFileException if one is no plain LoRA adapter
     * @throws ConfigException if they do not fit together
     */
    public static LoraCombination of(List<Part> parts, Settings settings) throws MalformedFileException {
        List<Own> all = new ArrayList<>();
        for (Part part : parts) {
            all.add(Own.of(part));
        }
        Map<String, TensorData> tensors = new LinkedHashMap<>();
        Map<String, Integer> ranks = new LinkedHashMap<>();
        Set<String> done = new LinkedHashSet<>();
        for (Own own : all) {
            for (String name : own.file().tensors().keySet()) {
                List<String> names = namesOf(name);
                if (names == null) {
                    continue;
                }
                String module = name.substring(0, name.length() - names.get(0).length());
                if (done.add(module)) {
                    try (PointerScope scope = new PointerScope()) {
                        Factors made = combined(all, module, names, settings);
                        String a = module + names.get(0);
                        String b = module + names.get(1);
                        tensors.put(a, PeftTensors.data(a, made.a()));
                        tensors.put(b, PeftTensors.data(b, made.b()));
                        ranks.put(path(module), Math.toIntExact(made.a().size(0)));
                    }
                }
            }
        }
        checkSpelling(ranks.keySet());
        if (ranks.isEmpty()) {
            throw PeftTensors.malformed(
                    all.get(0).file(),
                    "has no A and B" + PeftTensors.has(all.get(0).file()));
        }
        List<String> saved = saved(all, tensors);
        return new LoraCombination(config(all.get(0), ranks, saved), List.copyOf(tensors.values()));
    }

    /** Of a backbone alone and under a head the same module has two paths. */
    private static void checkSpelling(Set<String> modules) {
        for (String module : modules) {
            for (int dot = module.indexOf('.'); dot > 0; dot = module.indexOf('.', dot + 1)) {
                if (modules.contains(module.substring(dot + 1))) {
                    throw new ConfigException("adapters: " + module + " and " + module.substring(dot + 1)
                            + " are one module, spelled with the backbone's name and without it; combine adapters that"
                            + " were made on models of one class");
                }
            }
        }
    }

    /** The names of A and B where this is an A; else null. */
    private static @Nullable List<String> namesOf(String name) {
        return NAMES.stream()
                .filter(names -> name.endsWith(names.get(0)))
                .findFirst()
                .orElse(null);
    }

    private static String path(String module) {
        return module.startsWith(PeftKeys.MODEL) ? module.substring(PeftKeys.MODEL.length()) : module;
    }

    /** A and B of one adapter at a module. */
    private record Given(Tensor a, Tensor b, double weight, double scale) {
        double both() {
            return weight * scale;
        }

        Tensor update() {
            return b.matmul(a).mul(new Scalar(scale));
        }
    }

    private static List<Given> given(List<Own> all, String module, List<String> names) throws MalformedFileException {
        List<Given> found = new ArrayList<>();
        for (Own own : all) {
            if (!own.file().tensors().containsKey(module + names.get(0))) {
                continue; // adds nothing here
            }
            if (!own.file().tensors().containsKey(module + names.get(1))) {
                throw PeftTensors.malformed(own.file(), "adapter lacks the tensor " + module + names.get(1));
            }
            Tensor a = own.tensor(module + names.get(0));
            Tensor b = own.tensor(module + names.get(1));
            if (!found.isEmpty()
                    && (a.size(1) != found.get(0).a().size(1)
                            || b.size(0) != found.get(0).b().size(0))) {
                throw PeftTensors.malformed(
                        own.file(),
                        path(module) + " is of another size than in the adapters before: they are of different models");
            }
            found.add(new Given(a, b, own.weight(), own.scale(path(module), a.size(0))));
        }
        return found;
    }

    private static Factors combined(List<Own> all, String module, List<String> names, Settings settings)
            throws MalformedFileException {
        List<Given> given = given(all, module, names);
        TaskArithmetic arithmetic =
                new TaskArithmetic(settings.how(), settings.density(), settings.bySum(), settings.seed());
        if (settings.how() == Combination.CAT) {
            TensorVector as = new TensorVector();
            TensorVector bs = new TensorVector();
            for (Given one : given) {
                as.push_back(one.a().mul(new Scalar(one.both())));
                bs.push_back(one.b());
            }
            return new Factors(torch.cat(as, 0), torch.cat(bs, 1));
        }
        return settings.how().ofUpdates()
                ? ofUpdates(given, module, arithmetic, settings.rank())
                : ofFactors(given, module, arithmetic);
    }

    /** PEFT multiplies both with the root of weight and scale, and A with the sign. */
    private static Factors ofFactors(List<Given> given, String module, TaskArithmetic arithmetic) {
        List<Long> ranks = given.stream().map(one -> one.a().size(0)).toList();
        if (ranks.stream().distinct().count() > 1) {
            throw new ConfigException("type " + name(arithmetic.how()) + " needs adapters of one rank, but "
                    + path(module) + " has " + ranks + "; take cat, or one that ends with _svd");
        }
        List<Double> roots =
                given.stream().map(one -> Math.sqrt(Math.abs(one.both()))).toList();
        List<Double> signed = given.stream()
                .map(one -> Math.copySign(Math.sqrt(Math.abs(one.both())), one.both()))
                .toList();
        return new Factors(
                arithmetic.of(given.stream().map(Given::a).toList(), signed, module + "A"),
                arithmetic.of(given.stream().map(Given::b).toList(), roots, module + "B"));
    }

    private static Factors ofUpdates(List<Given> given, String module, TaskArithmetic arithmetic, int rank) {
        Tensor sum = arithmetic.of(
                given.stream().map(Given::update).toList(),
                given.stream().map(Given::weight).toList(),
                module);
        long most = given.stream().mapToLong(one -> one.a().size(0)).max().orElseThrow();
        long kept = Math.min(rank == 0 ? most : rank, Math.min(sum.size(0), sum.size(1)));
        TruncatedSvd svd = TruncatedSvd.exact(sum, kept);
        return new Factors(svd.vt(), svd.u().mul(svd.s().unsqueeze(0)));
    }

    /** What is trained as a whole can be combined with nothing: one of the adapters may have it. */
    private static List<String> saved(List<Own> all, Map<String, TensorData> tensors) {
        Map<String, Own> owners = new LinkedHashMap<>();
        Set<String> modules = new LinkedHashSet<>();
        for (Own own : all) {
            modules.addAll(own.config().modulesToSave());
            own.file().tensors().forEach((name, data) -> {
                boolean factor = NAMES.stream().flatMap(List::stream).anyMatch(name::endsWith);
                if (factor) {
                    return;
                }
                Own other = owners.putIfAbsent(name, own);
                if (other != null) {
                    throw new ConfigException("adapters " + other.file().directory() + " and "
                            + own.file().directory() + " both have " + name
                            + " as a whole, which cannot be combined; leave one of them out");
                }
                tensors.put(name, data);
            });
        }
        return List.copyOf(modules);
    }

    /** The scale is 1 everywhere. */
    private static Map<String, @Nullable Object> config(Own first, Map<String, Integer> ranks, List<String> saved) {
        LoraConfig config = LoraFiles.ofRanks(ranks).modulesToSave(saved).build();
        Map<String, @Nullable Object> file = new LinkedHashMap<>(first.file().config());
        file.keySet().removeAll(LoraKeys.TABLE.keys());
        file.putAll(LoraFiles.write(config, ranks.keySet()));
        for (String key :
                List.of("auto_mapping", "base_model_name_or_path", "revision", "task_type", "fan_in_fan_out")) {
            file.put(key, first.file().config().get(key));
        }
        file.put("inference_mode", true);
        file.put("modules_to_save", saved.isEmpty() ? null : saved);
        file.put("peft_type", "LORA");
        return file;
    }

    private static String name(Combination how) {
        return how.name().toLowerCase(java.util.Locale.ROOT);
    }

    /** What can be done about an adapter of another method. */
    private static String remedy(@Nullable Object peftType) {
        return Methods.all().stream()
                .filter(method -> method.peftType().equals(peftType))
                .findFirst()
                .flatMap(Method::mergeRefusal)
                .map(reason -> ", and no update of weights: " + reason)
                .orElse("; convert it first (peft4j convert)");
    }
}
