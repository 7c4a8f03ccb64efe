package org.peft4j.method.spi.full;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.ModelParts;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.ReplacingMethod;
import org.peft4j.method.spi.WholeTensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/**
 * Full tuning: a parameter in the place of each of the model's tensors, or of some. Hugging Face PEFT has no such method; files are ours,
 * named as PEFT would name the tensors.
 */
public final class FullMethod extends ReplacingMethod<FullConfig> {
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
    protected Adapter.Builder claim(
            String name, FullConfig config, Points points, Collection<String> paths, List<String> notes) {
        return new WholeTensors(config.chosen(), points).of(paths, notes).claim(name, config.modulesToSave());
    }

    @Override
    public Map<String, Object> fileConfig(FullConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        WholeTensors.put(config.chosen(), points, file);
        return file;
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
