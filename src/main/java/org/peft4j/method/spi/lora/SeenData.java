package org.peft4j.method.spi.lora;

import java.util.List;
import java.util.Locale;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.lora.DataStart;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.Calibration;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;

/** What LoRA's starts from data share. */
abstract class SeenData implements Calibration<LoraConfig> {
    /** The settings, with targets that can be matched. */
    final LoraConfig config;

    final List<LoraSite> sites;
    final Points points;
    final long seed;
    private @Nullable Adapter observer; // made when it is asked for: claims are those of classes below
    private long batches;
    private long sequences;
    private long tokens;

    /** @throws IllegalArgumentException if a target is no linear layer of the backbone, or too small for its rank */
    SeenData(LoraConfig config, List<LoraSite> sites, Points points, long seed) {
        this.config = config;
        this.sites = sites;
        this.points = points;
        this.seed = seed;
        for (LoraSite site : sites) {
            site.check(config);
            if (!(site.point() instanceof LinearPoint linear) || linear.head()) {
                throw new IllegalArgumentException("targets must be linear layers of the backbone with init " + init()
                        + ", which makes A and B of what goes through them, got "
                        + site.point().path());
            }
            if (site.rank() > linear.in()) {
                throw new IllegalArgumentException("r must be at most " + linear.in() + " for " + linear.path()
                        + " with init " + init() + ", whose input has so many directions, got " + site.rank());
            }
        }
    }

    /** How it is made, of these settings. */
    static SeenData of(LoraConfig config, List<LoraSite> sites, Points points, long seed) {
        return switch (config.init()) {
            case EVA -> new SeenByEva(config, sites, points, seed);
            case CORDA -> new SeenByCorda(config, sites, points, seed);
            case LORA_GA -> new SeenByLoraGa(config, sites, points, seed);
            case KAIMING, GAUSSIAN, ORTHOGONAL, PISSA, OLORA ->
                throw new IllegalArgumentException(name(config.init()) + " looks at no data");
        };
    }

    static String name(InitLora init) {
        return init.name().toLowerCase(Locale.ROOT);
    }

    final String init() {
        return name(config.init());
    }

    /** The claim that watches a layer. */
    abstract LinearClaim watch(LoraSite site);

    /** The first A and B of a layer, of what was seen. */
    abstract LoraStart start(LoraSite site, Tensor w);

    /** What a user should know of it. */
    abstract List<String> notes(LoraConfig begun);

    /** What a batch's rows are, before they come. */
    abstract void see(Packing rows, boolean[] told);

    /** The settings of what begins. */
    LoraConfig begun() {
        return config;
    }

    @Override
    public LoraConfig withoutData() {
        return config.toBuilder()
                .init(InitLora.KAIMING)
                .dataStart(DataStart.defaults())
                .build();
    }

    @Override
    public final Adapter observer() {
        if (observer == null) {
            Adapter.Builder builder = Adapter.builder("init " + init(), points.device());
            sites.forEach(site -> builder.claim((LinearPoint) site.point(), watch(site)));
            observer = builder.build();
        }
        return observer;
    }

    @Override
    public final int rows() {
        return config.dataStart().calibrationRows();
    }

    @Override
    public boolean needsGradient() {
        return false;
    }

    @Override
    public boolean enough() {
        return false;
    }

    @Override
    public final void before(Packing rows, boolean[] told) {
        if (told.length != rows.rows()) {
            throw new IllegalArgumentException(rows.rows() + " rows need as many marks, got " + told.length);
        }
        batches++;
        sequences += rows.sequences();
        tokens += rows.rows();
        see(rows, told);
    }

    /** Batches so far. */
    final long batches() {
        return batches;
    }

    /** What was looked at, in words. */
    final String looked() {
        return String.format(
                Locale.ROOT,
                "%,d %s of the training data with %,d tokens",
                sequences,
                sequences == 1 ? "text" : "texts",
                tokens);
    }

    @Override
    public final Started<LoraConfig> attach(String name) {
        if (batches == 0) {
            throw new IllegalArgumentException("init " + init() + " needs rows of training data to look at, got none");
        }
        LoraConfig begun = begun();
        return new Started<>(LoraMethod.begin(name, begun, points, seed, this::start), begun, notes(begun));
    }

    @Override
    public void close() {
        if (observer != null) {
            observer.close();
        }
    }
}
