package org.peft4j.method.spi.bottleneck;

import java.util.List;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.Targets;
import org.peft4j.method.UsualTargets;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckLora;
import org.peft4j.method.spi.SequenceGate;
import org.peft4j.method.spi.TargetModules;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;

/** The LoRA of UniPELT: A and B are named and begin as PEFT's; the scale is 1, or a gate. */
final class LoraBeside {
    private static final String A = ".lora_A.weight";
    private static final String B = ".lora_B.weight";
    private static final String GATE = ".lora_gate";

    private final BottleneckConfig config;
    private final BottleneckLora lora;
    private final Points points;

    private LoraBeside(BottleneckConfig config, BottleneckLora lora, Points points) {
        this.config = config;
        this.lora = lora;
        this.points = points;
    }

    /** That of these settings; null if they have none. */
    static @Nullable LoraBeside of(BottleneckConfig config, Points points) {
        return config.lora() == null ? null : new LoraBeside(config, config.lora(), points);
    }

    private TargetModules modules() {
        Targets targets = named(() -> UsualTargets.resolve(lora.targets(), points.modelType()));
        return new TargetModules(targets, null, config.modulesToSave());
    }

    /** In the model's order. */
    private List<LinearPoint> layers() {
        TargetModules modules = modules();
        return named(() -> {
            List<LinearPoint> layers = modules.linears(points);
            for (LinearPoint layer : layers) {
                if (layer.head()) {
                    throw new IllegalArgumentException("targets must be linear layers of blocks, got the head "
                            + layer.path() + ", which reads other rows than those of texts");
                }
            }
            return layers;
        });
    }

    /** Errors name the part. */
    private static <T> T named(Supplier<T> f) {
        try {
            return f.get();
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("lora." + e.getMessage(), e);
        }
    }

    /**
     * Claims its layers.
     *
     * @throws IllegalArgumentException if a target matches nothing, or no linear layer of a block
     */
    void claim(Adapter.Builder builder, long seed) {
        for (LinearPoint layer : layers()) {
            String pathOfA = layer.path() + A;
            Parameter a = Parameter.of(pathOfA, "lora_A", () -> Init.kaiming(seed, pathOfA, lora.r(), layer.in()));
            Parameter b = Parameter.of(layer.path() + B, "lora_B", () -> Tensors.zeros(layer.out(), lora.r()));
            builder.parameter(a).parameter(b);
            LowRank update = LowRank.of(a, b, 1, lora.dropout());
            LinearClaim claim = config.gate()
                    ? SequenceGate.fresh(builder, layer.path() + GATE, 1, layer.in(), seed)
                            .times(update)
                    : update;
            builder.claim(layer, claim);
        }
    }

    long elements() {
        return layers().stream()
                .mapToLong(layer -> lora.r() * (layer.in() + layer.out())
                        + (config.gate() ? SequenceGate.elements(1, layer.in()) : 0))
                .sum();
    }

    /** The settings with targets by name, as files have them. */
    BottleneckConfig resolved() {
        Targets targets = named(() -> UsualTargets.resolve(lora.targets(), points.modelType()));
        return with(targets);
    }

    private BottleneckConfig with(Targets targets) {
        return config.toBuilder().lora(lora.withTargets(targets)).build();
    }

    /** See {@link org.peft4j.method.spi.Method#respelled}. */
    BottleneckConfig respelled(UnaryOperator<String> from, UnaryOperator<String> to) {
        TargetModules modules = modules();
        boolean same = points.linears().stream()
                .allMatch(point -> modules.adapts(point, from.apply(point.path()))
                        == modules.adapts(point, to.apply(point.path())));
        List<String> adapted = points.linears().stream()
                .filter(point -> modules.adapts(point, from.apply(point.path())))
                .map(point -> to.apply(point.path()))
                .toList();
        return same || adapted.isEmpty() ? config : with(Targets.names(adapted));
    }
}
