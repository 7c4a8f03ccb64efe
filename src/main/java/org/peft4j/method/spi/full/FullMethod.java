package org.peft4j.method.spi.full;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.ModelParts;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.spi.Merging;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.WholeTensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/**
 * Full tuning: a parameter in the place of each of the model's tensors, or of some. Hugging Face PEFT has no such method; files are ours,
 * named as PEFT would name the tensors.
 */
public final class FullMethod implements Method<FullConfig> {
    @Override
    public String name() {
        return "full";
    }

    @Override
    public String peftType() {
        return "FULL";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public FullConfig defaults() {
        return FullConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return WholeTensors.RENAMED;
    }

    @Override
    public Adapter attach(String name, FullConfig config, Points points, long seed) {
        return new WholeTensors(config.chosen(), points)
                .claim(name, config.modulesToSave())
                .build();
    }

    @Override
    public ConfigKeys keys() {
        return WholeTensors.KEYS;
    }

    @Override
    public FullConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new FullConfig(WholeTensors.read(config), config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public FullConfig respelled(
            FullConfig config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        return new FullConfig(WholeTensors.respelled(config.chosen(), points, from, to), config.modulesToSave());
    }

    @Override
    public Adapter read(String name, FullConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        Adapter.Builder builder = new WholeTensors(config.chosen(), points)
                .of(byPath.keySet(), notes)
                .claim(name, config.modulesToSave());
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        return PeftTensors.filled(builder.build(), file, byPath, FullMethod::key, notes);
    }

    private static String key(String path) {
        return PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, Object> fileConfig(FullConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        WholeTensors.put(config.chosen(), points, file);
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(FullConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, FullMethod::key);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.empty();
    }

    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        return Merging.replacements(adapter);
    }

    @Override
    public long parameterCount(FullConfig config, Points points) {
        return new WholeTensors(config.chosen(), points).elements(config.modulesToSave());
    }

    @Override
    public String summary() {
        return "the model itself: all of it, or parts, blocks and modules that are chosen";
    }

    @Override
    public String settings(FullConfig config) {
        return config.chosen().equals(ModelParts.ALL) ? "all of the model" : "what is chosen of the model";
    }
}
