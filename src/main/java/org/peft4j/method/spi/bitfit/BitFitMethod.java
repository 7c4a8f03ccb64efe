package org.peft4j.method.spi.bitfit;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Targets;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.ReplacingMethod;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;

/**
 * BitFit (Ben Zaken et al. 2021): a parameter in the place of each bias. Hugging Face PEFT has no such method; files are ours, named
 * as PEFT would name the tensors.
 */
public final class BitFitMethod extends ReplacingMethod<BitFitConfig> {
    private static final String BIAS = ".bias";
    private static final String GROUP = "bias";

    private static final ConfigKeys KEYS =
            ConfigKeys.of("peft4j").all(PeftKeys.COMMON).obeyed("terms").build();

    @Override
    public String name() {
        return "bitfit";
    }

    @Override
    public String peftType() {
        return "BITFIT";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public BitFitConfig defaults() {
        return BitFitConfig.defaults();
    }

    @Override
    public Adapter attach(String name, BitFitConfig config, Points points, long seed) {
        return build(name, config, points).build();
    }

    private static Adapter.Builder build(String name, BitFitConfig config, Points points) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        SavedModules.claim(builder, points, config.modulesToSave());
        for (TensorPoint bias : biases(config, points)) {
            if (!builder.claims(bias)) {
                builder.claim(bias, SavedModules.copy(bias, GROUP));
            }
        }
        return builder;
    }

    private static List<TensorPoint> biases(BitFitConfig config, Points points) {
        Set<String> heads = new LinkedHashSet<>();
        points.linears().stream().filter(LinearPoint::head).forEach(point -> heads.add(point.path() + BIAS));
        List<TensorPoint> all = points.tensors().values().stream()
                .filter(point -> point.path().endsWith(BIAS) && !heads.contains(point.path()))
                .toList();
        if (all.isEmpty()) {
            throw new IllegalArgumentException("method: a model of the type " + points.modelType()
                    + " has no biases to train; take another method, such as lora");
        }
        if (config.terms().contains(BitFitConfig.ALL)) {
            return all;
        }
        Targets named = Targets.names(config.terms());
        List<String> modules = all.stream().map(point -> module(point.path())).toList();
        List<String> unmatched = named.unmatched(modules);
        if (!unmatched.isEmpty()) {
            throw new IllegalArgumentException(
                    Targets.names(unmatched).noMatch(modules).replaceFirst("targets", "terms") + " with a bias");
        }
        return all.stream().filter(point -> named.matches(module(point.path()))).toList();
    }

    private static String module(String bias) {
        return bias.substring(0, bias.length() - BIAS.length());
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public BitFitConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new BitFitConfig(config.texts("terms"), config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Adapter.Builder claim(
            String name, BitFitConfig config, Points points, Collection<String> paths, List<String> notes) {
        return build(name, config, points);
    }

    @Override
    public Map<String, Object> fileConfig(BitFitConfig config, Points points) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("terms", config.terms());
        return file;
    }

    @Override
    public long parameterCount(BitFitConfig config, Points points) {
        return SavedModules.elements(points, config.modulesToSave(), biases(config, points));
    }

    @Override
    public String summary() {
        return "the biases of linear layers and norms";
    }

    @Override
    public String settings(BitFitConfig config) {
        return "every bias but the head's";
    }
}
