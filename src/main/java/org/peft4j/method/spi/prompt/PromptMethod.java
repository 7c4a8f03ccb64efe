package org.peft4j.method.spi.prompt;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PromptStarts;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/** Prompt tuning: trained rows in front of each text (Lester et al. 2021; Hugging Face PEFT). */
public final class PromptMethod implements Method<PromptConfig> {
    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(SoftPrompt.KEYS)
            .all(PromptStarts.KEYS)
            .build();

    @Override
    public String name() {
        return "prompt-tuning";
    }

    @Override
    public String peftType() {
        return "PROMPT_TUNING";
    }

    @Override
    public PromptConfig defaults() {
        return PromptConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return PromptStarts.RENAMED;
    }

    @Override
    public PromptConfig inTokens(PromptConfig config, Function<String, List<Integer>> encode) {
        return config.withStart(PromptStarts.inTokens(config.start(), encode));
    }

    @Override
    public Adapter attach(String name, PromptConfig config, Points points, long seed) {
        int count = config.virtualTokens();
        return SoftPrompt.direct(
                        name,
                        count,
                        points,
                        config.modulesToSave(),
                        () -> PromptStarts.rows(config.start(), count, points, seed, SoftPrompt.TABLE))
                .build();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public PromptConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new PromptConfig(
                    config.count("num_virtual_tokens", 0), PromptStarts.read(config), config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public Adapter read(String name, PromptConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        return SoftPrompt.read(name, config.virtualTokens(), config.modulesToSave(), file, points, notes);
    }

    @Override
    public Map<String, Object> fileConfig(PromptConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>(SoftPrompt.fileConfig(config.virtualTokens(), points));
        PromptStarts.write(config.start(), file);
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(PromptConfig config, Adapter adapter) {
        return SoftPrompt.fileTensors(adapter);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(SoftPrompt.mergeRefusal());
    }

    @Override
    public long parameterCount(PromptConfig config, Points points) {
        return config.virtualTokens() * SoftPrompt.point(points).width()
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "P rows in front of each text, in place of embedded words";
    }

    @Override
    public String settings(PromptConfig config) {
        return config.virtualTokens() + " virtual tokens";
    }
}
