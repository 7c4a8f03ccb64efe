package org.peft4j.method.spi.list;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Targets;
import org.peft4j.method.list.ListConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.OutputUpdate;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.ops.Ops;

/** LiST's linear adapter (Wang et al. 2021): {@code y + W_2 W_1 y} in place of what a layer gives. The files are ours. */
public final class ListMethod extends LinearMethod<ListConfig> {
    private static final String DOWN = "adapter_down.weight";
    private static final String UP = "adapter_up.weight";

    private static final ConfigKeys KEYS = ConfigKeys.of("peft4j")
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "init_std")
            .build();

    /** {@code y + W_2 W_1 y}. */
    private record Residual(Parameter down, Parameter up) implements OutputUpdate {
        @Override
        public Tensor of(Tensor y) {
            Tensor inner = Ops.linear(y, down.value().to(y.scalar_type()), null);
            return y.add(Ops.linear(inner, up.value().to(y.scalar_type()), null));
        }
    }

    @Override
    public String name() {
        return "list";
    }

    @Override
    public String peftType() {
        return "LIST";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public ListConfig defaults() {
        return ListConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "adapter_init_std", "init_std");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(DOWN, UP);
    }

    /** The layers that attention and MLP end in, by what their paths have behind the number of the block. */
    @Override
    protected Targets usual(Targets targets, Points points) {
        if (!(targets instanceof Targets.ModelDefault)) {
            return targets;
        }
        Set<String> names = new LinkedHashSet<>();
        for (SublayerPoint end : points.all(SublayerPoint.class)) {
            List<String> own = new ArrayList<>();
            for (LinearPoint linear : points.linears()) {
                String path = linear.path();
                if (path.equals(end.path()) || path.startsWith(end.path() + ".")) {
                    String number = "." + end.layer() + ".";
                    own.add(path.substring(path.indexOf(number) + number.length()));
                }
            }
            if (own.isEmpty()) {
                throw new IllegalArgumentException("targets must be given: " + end.path() + " of "
                        + points.architecture() + " ends in no linear layer");
            }
            names.addAll(own);
        }
        if (names.isEmpty()) {
            throw new IllegalArgumentException(
                    "targets must be given for model type '" + points.modelType() + "', such as [output.dense]");
        }
        return Targets.names(names);
    }

    @Override
    protected void adapt(ListConfig config, AdaptedLayers layers) {
        for (AdaptedLayers.Layer layer : layers.all()) {
            if (config.r() > layer.out()) {
                throw new IllegalArgumentException(
                        "r must be at most the " + layer.out() + " outputs of " + layer.path() + ", got " + config.r());
            }
            Parameter down = layer.trained(
                    DOWN, (seed, path) -> Init.normal(seed, path, config.initStd(), config.r(), layer.out()));
            Parameter up = layer.trained(
                    UP, (seed, path) -> Init.normal(seed, path, config.initStd(), layer.out(), config.r()));
            layer.claim(new Residual(down, up));
        }
    }

    @Override
    protected long elements(ListConfig config, List<LinearPoint> layers) {
        return layers.stream().mapToLong(layer -> 2L * config.r() * layer.out()).sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public ListConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        ListConfig usual = ListConfig.defaults();
        try {
            return new ListConfig(
                    config.count("r", usual.r()),
                    config.number("init_std", usual.initStd()),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(ListConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("init_std", config.initStd());
        file.put("r", config.r());
        return file;
    }

    @Override
    public String summary() {
        return "W_1 and W_2 behind attention's and MLP's last layers, bias included: y + W_2 W_1 y";
    }

    @Override
    public String settings(ListConfig config) {
        return "r " + config.r() + ", the last layers of attention and MLP";
    }
}
