package org.peft4j.method.spi.ept;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.ept.EptConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PositionPair;
import org.peft4j.method.spi.PromptStarts;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;

/** EPT (Lan et al. 2024) as {@link EptConfig} reads it. Nobody else has files of it; ours hold all that is trained. */
public final class EptMethod implements Method<EptConfig> {
    private static final ConfigKeys KEYS = ConfigKeys.of("EPT")
            .all(SoftPrompt.KEYS)
            .all(PromptStarts.KEYS)
            .obeyed("r", "max_length", "attention", "spaces", "space_width")
            .build();

    @Override
    public String name() {
        return "ept";
    }

    @Override
    public String peftType() {
        return "EPT";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public EptConfig defaults() {
        return EptConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return PromptStarts.RENAMED;
    }

    @Override
    public EptConfig inTokens(EptConfig config, Function<String, List<Integer>> encode) {
        return config.withStart(PromptStarts.inTokens(config.start(), encode));
    }

    @Override
    public Adapter attach(String name, EptConfig config, Points points, long seed) {
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
            String name, EptConfig config, Points points, long seed, Supplier<Tensor> rows) {
        long width = SoftPrompt.point(points).width();
        Parameter prompt = Parameter.of(SoftPrompt.TABLE, SoftPrompt.GROUP, rows);
        Adapter.Builder builder = Adapter.builder(name, points.device()).parameter(prompt);
        PositionPair pair = PositionPair.of(builder, config.maxLength(), config.r(), width, 1, seed);
        EptNetwork network = EptNetwork.of(builder, config, width, seed);
        SoftPrompt made = new SoftPrompt(
                config.virtualTokens(),
                context -> network.rows(prompt.value(), pair.b().value()));
        SoftPrompt.claim(builder, made, points, config.modulesToSave());
        return builder.claim(SoftPrompt.point(points), pair);
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public EptConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new EptConfig(
                    config.count("num_virtual_tokens", 0),
                    PromptStarts.read(config),
                    config.count("r", 0),
                    config.count("max_length", 0),
                    new EptConfig.Network(
                            config.count("attention", 0), config.count("spaces", 0), config.count("space_width", 0)),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public Adapter read(String name, EptConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        return SoftPrompt.read(
                build(name, config, points, 0, SoftPrompt.zeros(config.virtualTokens(), points)), file, points, notes);
    }

    @Override
    public Map<String, Object> fileConfig(EptConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>(SoftPrompt.fileConfig(config.virtualTokens(), points));
        PromptStarts.write(config.start(), file);
        file.put("attention", config.network().attention());
        file.put("max_length", config.maxLength());
        file.put("r", config.r());
        file.put("space_width", config.network().spaceWidth());
        file.put("spaces", config.network().spaces());
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(EptConfig config, Adapter adapter) {
        return SoftPrompt.parameters(adapter);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(SoftPrompt.mergeRefusal());
    }

    @Override
    public long parameterCount(EptConfig config, Points points) {
        long width = SoftPrompt.point(points).width();
        return config.virtualTokens() * width
                + config.r() * (config.maxLength() + width)
                + EptNetwork.elements(config, width)
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "a prompt fused with a low-rank pair and projected into gated spaces; the pair is added to embedded words";
    }

    @Override
    public String settings(EptConfig config) {
        return config.virtualTokens() + " virtual tokens, r " + config.r() + ", "
                + config.network().spaces() + " spaces";
    }
}
