package org.peft4j.method.spi.adaption;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.adaption.AdaptionPromptConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Points;

/** LLaMA-Adapter (Zhang et al. 2023), with Hugging Face PEFT's files: {@code ….self_attn.adaption_prompt} and {@code adaption_gate}. */
public final class AdaptionPromptMethod implements Method<AdaptionPromptConfig> {
    private static final String TARGET = "target_modules";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed("adapter_len", "adapter_layers")
            .only(
                    TARGET,
                    AdaptionPromptModels.modules(),
                    "rows are read by the attention of a layer, which is called self_attn, and attn in gpt2")
            .build();

    private static final String REFUSAL =
            "its softmax weighs trained rows by each query: no frozen weight has that effect";

    @Override
    public String name() {
        return "adaption-prompt";
    }

    @Override
    public String peftType() {
        return "ADAPTION_PROMPT";
    }

    @Override
    public AdaptionPromptConfig defaults() {
        return AdaptionPromptConfig.defaults();
    }

    @Override
    public boolean peftSavesModules() {
        return false;
    }

    @Override
    public Adapter attach(String name, AdaptionPromptConfig config, Points points, long seed) {
        return build(name, config, points, seed).build();
    }

    private static Adapter.Builder build(String name, AdaptionPromptConfig config, Points points, long seed) {
        List<KeyValuePoint> sites = AdaptionPromptModels.sites(points, config.adapterLayers());
        boolean behind = AdaptionPromptModels.behindOutput(points);
        Adapter.Builder builder = Adapter.builder(name, points.device());
        for (KeyValuePoint site : sites) {
            AdaptionPrompt prompt = AdaptionPrompt.fresh(site, config.adapterLen(), points.hiddenSize(), behind, seed);
            builder.parameter(prompt.prompt()).parameter(prompt.gateParameter()).claim(site, prompt);
        }
        SavedModules.claim(builder, points, config.modulesToSave());
        return builder;
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public AdaptionPromptConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        for (String key : List.of("adapter_len", "adapter_layers")) {
            if (config.get(key) == null) {
                throw config.wrong(key, "has to be there", null);
            }
        }
        try {
            return new AdaptionPromptConfig(
                    config.count("adapter_len", 0), config.count("adapter_layers", 0), config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public Adapter read(String name, AdaptionPromptConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Adapter.Builder builder = build(name, config, points, 0);
        PeftConfigReader reader = new PeftConfigReader(file);
        String target = reader.text(TARGET);
        if (target != null && !target.equals(AdaptionPromptModels.module(points))) {
            builder.build().close();
            throw reader.wrong(TARGET, "must be " + AdaptionPromptModels.module(points) + " for this model", target);
        }
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        return PeftTensors.filled(builder.build(), file, byPath, AdaptionPromptMethod::key, notes);
    }

    private static String key(String path) {
        return PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, Object> fileConfig(AdaptionPromptConfig config, Points points) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("adapter_layers", config.adapterLayers() == 0 ? points.layers() : config.adapterLayers());
        file.put("adapter_len", config.adapterLen());
        file.put(TARGET, AdaptionPromptModels.module(points));
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(AdaptionPromptConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, AdaptionPromptMethod::key);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(REFUSAL);
    }

    @Override
    public long parameterCount(AdaptionPromptConfig config, Points points) {
        return AdaptionPromptModels.sites(points, config.adapterLayers()).size()
                        * (config.adapterLen() * points.hiddenSize() + 1)
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "K rows in the topmost layers, read by attention through a gate that begins at 0";
    }

    @Override
    public String settings(AdaptionPromptConfig config) {
        String layers = config.adapterLayers() == 0 ? "all layers" : "the last " + config.adapterLayers() + " layers";
        return config.adapterLen() + " rows in " + layers;
    }
}
