package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.AtomicDirectories;
import org.peft4j.method.lora.Combination;
import org.peft4j.method.spi.lora.LoraCombination;
import org.peft4j.run.files.AdapterSettings;

/**
 * Makes one LoRA adapter of several, as Hugging Face PEFT's {@code add_weighted_adapter} does. Adapters of other methods become LoRA by
 * {@link Convert} first. No model is needed. For one thread; each setting has a default.
 */
public final class Combine {
    private final List<Path> adapters = new ArrayList<>();
    private final List<Double> weights = new ArrayList<>();
    private Combination how = Combination.SVD;
    private int rank;
    private double density = 1;
    private boolean bySum = true;
    private long seed;

    private Combine() {}

    /** By the singular values of the weighted sum of their updates, with the largest of their ranks. */
    public static Combine adapters() {
        return new Combine();
    }

    /**
     * Adds an adapter; at least one is needed.
     *
     * @param weight what its update is multiplied with; may be negative
     */
    public Combine add(Path adapter, double weight) {
        if (!Double.isFinite(weight)) {
            throw new IllegalArgumentException("weight must be a number, got " + weight);
        }
        adapters.add(Objects.requireNonNull(adapter, "adapter"));
        weights.add(weight);
        return this;
    }

    /** How they are combined. */
    public Combine by(Combination value) {
        how = Objects.requireNonNull(value, "by");
        return this;
    }

    /** The most singular values of a layer that are kept, where {@link Combination#ofUpdates}; 0: the largest rank of the adapters. */
    public Combine rank(int value) {
        if (value < 0) {
            throw new IllegalArgumentException("rank must be 0 or more, got " + value);
        }
        rank = value;
        return this;
    }

    /** The part of the values that is kept, above 0 to 1, where {@link Combination#prunes}. */
    public Combine density(double value) {
        if (!(value > 0 && value <= 1)) {
            throw new IllegalArgumentException("density must be above 0 and at most 1, got " + value);
        }
        density = value;
        return this;
    }

    /** Whether TIES takes the sign of most adapters, each of them one vote, in place of the sign of their sum. */
    public Combine signOfMost(boolean value) {
        bySum = !value;
        return this;
    }

    /** Seed of the values that DARE leaves out. */
    public Combine seed(long value) {
        seed = value;
        return this;
    }

    /**
     * Writes the adapter; the new directory is whole or absent. The first adapter says base, task and labels.
     *
     * @throws ConfigException if settings or adapters do not fit together, or {@code out} exists and must not be replaced
     * @throws org.peft4j.error.MalformedFileException if one is no plain LoRA adapter
     */
    public void write(Path out, boolean overwrite) throws IOException {
        Objects.requireNonNull(out, "out");
        check();
        Outputs.check(out, overwrite);
        List<LoraCombination.Part> parts = new ArrayList<>();
        for (int i = 0; i < adapters.size(); i++) {
            parts.add(new LoraCombination.Part(AdapterFiles.read(adapters.get(i)), weights.get(i)));
        }
        LoraCombination made = LoraCombination.of(parts, new LoraCombination.Settings(how, rank, density, bySum, seed));
        AtomicDirectories.write(out, overwrite, directory -> {
            AdapterFiles.write(directory, made.config(), made.tensors());
            AdapterSettings.copy(adapters.get(0), directory);
        });
    }

    private void check() {
        if (adapters.isEmpty()) {
            throw new ConfigException("adapters: at least one is needed");
        }
        if (rank > 0 && !how.ofUpdates()) {
            throw new ConfigException("rank is for types that end with svd, got rank " + rank + " and type " + how);
        }
        if (how.prunes() && density == 1) {
            throw new ConfigException(
                    "density must be below 1 with type " + how + ", which is there to leave values out");
        }
        if (!how.prunes() && density != 1) {
            throw new ConfigException(
                    "density is for ties, dare and magnitude_prune, got " + density + " and type " + how);
        }
        if (!bySum && !how.name().contains("TIES")) {
            throw new ConfigException("the sign of most is for ties, got type " + how);
        }
    }
}
