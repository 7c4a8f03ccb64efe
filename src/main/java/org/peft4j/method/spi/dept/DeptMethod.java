package org.peft4j.method.spi.dept;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.dept.DeptConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PositionPair;
import org.peft4j.method.spi.PromptStarts;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/**
 * DePT (Shi and Lipani 2023). Files are those of the authors' code, a fork of Hugging Face PEFT: {@code prompt_embeddings},
 * {@code prompt_encoder.lora_embedding_A} and {@code _B}; PEFT itself has no such method.
 */
public final class DeptMethod implements Method<DeptConfig> {
    private static final String LEFT_OUT = "it asks the reader to leave the file's pair out";

    private static final ConfigKeys KEYS = ConfigKeys.of("DePT")
            .all(SoftPrompt.KEYS)
            .all(PromptStarts.KEYS)
            .obeyed("r", "lora_alpha", "max_length", "hidden_size")
            .only("bias", List.of("none"), "biases that are trained with a prompt are not offered")
            .harmless("how the pair began, which the file's tensors replace", "init_lora_weights")
            .harmless("the file's tensors show it", "save_lora_embeddings")
            .only("load_lora_embeddings", List.of(true), LEFT_OUT)
            .only("load_lora_embedding_B", List.of(true), LEFT_OUT)
            .build();

    @Override
    public String name() {
        return "dept";
    }

    @Override
    public String peftType() {
        return "PROMPT_TUNING_LORA";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public DeptConfig defaults() {
        return DeptConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        Map<String, String> renamed = new LinkedHashMap<>(PromptStarts.RENAMED);
        renamed.put("lora_alpha", "alpha");
        return renamed;
    }

    @Override
    public DeptConfig inTokens(DeptConfig config, Function<String, List<Integer>> encode) {
        return config.withStart(PromptStarts.inTokens(config.start(), encode));
    }

    @Override
    public Adapter attach(String name, DeptConfig config, Points points, long seed) {
        int count = config.virtualTokens();
        return build(
                        name,
                        config,
                        points,
                        seed,
                        () -> PromptStarts.rows(config.start(), count, points, seed, SoftPrompt.TABLE))
                .build();
    }

    private static Adapter.Builder build(
            String name, DeptConfig config, Points points, long seed, java.util.function.Supplier<Tensor> rows) {
        Adapter.Builder builder = SoftPrompt.direct(name, config.virtualTokens(), points, config.modulesToSave(), rows);
        double scale = config.alpha() / Math.sqrt(config.r());
        long width = SoftPrompt.point(points).width();
        PositionPair pair = PositionPair.of(builder, config.maxLength(), config.r(), width, scale, seed);
        return builder.claim(SoftPrompt.point(points), pair);
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public DeptConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new DeptConfig(
                    config.count("num_virtual_tokens", 0),
                    PromptStarts.read(config),
                    config.count("r", 8),
                    config.number("lora_alpha", 8),
                    config.count("max_length", 256),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public Adapter read(String name, DeptConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        SoftPrompt.checkWidth(file, points, "hidden_size");
        return SoftPrompt.read(
                build(name, config, points, 0, SoftPrompt.zeros(config.virtualTokens(), points)), file, points, notes);
    }

    @Override
    public Map<String, Object> fileConfig(DeptConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>(SoftPrompt.fileConfig(config.virtualTokens(), points));
        PromptStarts.write(config.start(), file);
        file.remove("tokenizer_kwargs"); // younger than DePT's fork
        file.put("bias", "none");
        file.put("hidden_size", SoftPrompt.point(points).width());
        file.put("init_lora_weights", true);
        file.put("load_lora_embedding_B", true);
        file.put("load_lora_embeddings", true);
        file.put("lora_alpha", config.alpha());
        file.put("max_length", config.maxLength());
        file.put("r", config.r());
        file.put("save_lora_embeddings", true);
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(DeptConfig config, Adapter adapter) {
        return SoftPrompt.parameters(adapter);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(SoftPrompt.mergeRefusal());
    }

    @Override
    public long parameterCount(DeptConfig config, Points points) {
        long width = SoftPrompt.point(points).width();
        return config.virtualTokens() * width
                + config.r() * (config.maxLength() + width)
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "a few rows in front of each text, and a low-rank pair added to its embedded words by place";
    }

    @Override
    public String settings(DeptConfig config) {
        return config.virtualTokens() + " virtual tokens, r " + config.r() + ", texts of " + config.maxLength();
    }
}
