package org.peft4j.method.spi.vblora;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.UsualTargets;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.vblora.VbLoraConfig;
import org.peft4j.method.vblora.VectorBank;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;

/** VB-LoRA (Li et al. 2024; Hugging Face PEFT): LoRA whose matrices are put together from vectors that all layers share. */
public final class VbLoraMethod extends LinearMethod<VbLoraConfig> {
    private static final String BANK = "vblora_vector_bank";
    private static final String A = "vblora_logits_A";
    private static final String B = "vblora_logits_B";

    /** Where PEFT's usual targets are not LoRA's. */
    private static final Map<String, List<String>> USUAL = Map.of(
            "bart", List.of("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
            "deberta-v2", List.of("query_proj", "key_proj", "value_proj", "dense"),
            "opt", List.of("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
            "t5", List.of("q", "k", "v", "o", "wi", "wo"));

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "num_vectors", "vector_length", "topk", "vblora_dropout")
            .obeyed("init_vector_bank_bound", "init_logits_std")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .only("bias", List.of("none"), "biases would be trained, too")
            .harmless(
                    "which form the file has, its tensors say; written are always all logits", "save_only_topk_weights")
            .build();

    @Override
    public String name() {
        return "vblora";
    }

    @Override
    public String peftType() {
        return "VBLORA";
    }

    @Override
    public VbLoraConfig defaults() {
        return VbLoraConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "vblora_dropout", "dropout");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(A, B);
    }

    @Override
    protected Targets usual(Targets targets, String modelType) {
        List<String> own = USUAL.get(modelType);
        return targets instanceof Targets.ModelDefault && own != null
                ? Targets.names(own)
                : UsualTargets.resolve(targets, modelType);
    }

    @Override
    protected void adapt(VbLoraConfig config, AdaptedLayers layers) {
        VectorBank bank = config.bank();
        long h = bank.numVectors();
        long v = bank.vectorLength();
        long r = config.r();
        double std = bank.initLogitsStd();
        Parameter vectors =
                layers.trained(BANK, (seed, path) -> Init.uniform(seed, path, bank.initVectorBankBound(), h, v));
        for (AdaptedLayers.Layer layer : layers.all()) {
            check(bank, layer.path(), layer.in(), layer.out());
            Parameter a = layer.trained(A, (seed, path) -> Init.normal(seed, path, std, r, layer.in() / v, h));
            Parameter b = layer.trained(B, (seed, path) -> Init.normal(seed, path, std, layer.out() / v, r, h));
            layer.claim(new BankedUpdate(vectors, a, b, bank.topk(), config.dropout()));
        }
    }

    private static void check(VectorBank bank, String layer, long in, long out) {
        if (in % bank.vectorLength() != 0 || out % bank.vectorLength() != 0) {
            throw new IllegalArgumentException("vectorLength must divide the " + in + " inputs and " + out
                    + " outputs of " + layer + ", got " + bank.vectorLength());
        }
    }

    @Override
    protected long elements(VbLoraConfig config, List<LinearPoint> layers) {
        VectorBank bank = config.bank();
        long h = bank.numVectors();
        layers.forEach(layer -> check(bank, layer.path(), layer.in(), layer.out()));
        return h * bank.vectorLength()
                + layers.stream()
                        .mapToLong(layer -> config.r() * h * ((layer.in() + layer.out()) / bank.vectorLength()))
                        .sum();
    }

    @Override
    protected void removeCopies(AdapterFile file, Map<String, TensorData> byPath) throws MalformedFileException {
        ChosenLogits.expand(file, byPath);
    }

    @Override
    public Adapter read(String name, VbLoraConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        if (ChosenLogits.in(file.tensors())) {
            notes.add(
                    "the adapter's file has only the weights of chosen vectors (save_only_topk_weights): enough to compute"
                            + " and to merge, but trained further it would never choose others");
        }
        return super.read(name, config, file, points, notes);
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public VbLoraConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            VectorBank bank = new VectorBank(
                    config.count("num_vectors", 256),
                    config.count("vector_length", 256),
                    config.count("topk", 2),
                    config.number("init_vector_bank_bound", 0.02),
                    config.number("init_logits_std", 0.1));
            return new VbLoraConfig(
                    config.count("r", 4),
                    bank,
                    config.number("vblora_dropout", 0),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(VbLoraConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bias", "none");
        file.put("fan_in_fan_out", false);
        file.put("init_logits_std", config.bank().initLogitsStd());
        file.put("init_vector_bank_bound", config.bank().initVectorBankBound());
        file.put("num_vectors", config.bank().numVectors());
        file.put("r", config.r());
        file.put("save_only_topk_weights", false);
        file.put("topk", config.bank().topk());
        file.put("vblora_dropout", config.dropout());
        file.put("vector_length", config.bank().vectorLength());
        return file;
    }

    @Override
    public String summary() {
        return "a bank of vectors that all layers share, and logits that put LoRA's A and B together from them";
    }

    @Override
    public String settings(VbLoraConfig config) {
        return "r " + config.r() + ", " + config.bank().numVectors() + " vectors of "
                + config.bank().vectorLength() + ", the model's usual targets";
    }
}
