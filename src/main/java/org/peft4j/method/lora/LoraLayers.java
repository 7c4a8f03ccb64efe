package org.peft4j.method.lora;

import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;
import org.peft4j.method.LayerChoice;
import org.peft4j.method.ModulePattern;

/**
 * Which modules a {@link LoraConfig} adapts ({@link LayerChoice}), and each one's rank and scale: a key of {@code rankPattern} or
 * {@code alphaPattern} is a regular expression for the end of the path, beginning at a dot or at the start; the first key that
 * matches counts.
 *
 * <p>Compiled once and safe from many threads.
 */
public final class LoraLayers {
    private final LoraConfig config;
    private final LayerChoice choice;
    private final Function<String, Optional<Integer>> ranks;
    private final Function<String, Optional<Double>> alphas;

    /**
     * @throws IllegalArgumentException if the targets are still the model's default, or a name is not a regular
     *     expression where one is expected
     */
    public LoraLayers(LoraConfig config) {
        this.config = config;
        choice = new LayerChoice(config.layers(), config.modulesToSave());
        ranks = ModulePattern.byEnd(config.rankPattern());
        alphas = ModulePattern.byEnd(config.alphaPattern());
    }

    /** Whether the module is adapted; the head has to be left out by the caller if the targets are all-linear. */
    public boolean adapts(String modulePath) {
        return choice.adapts(modulePath);
    }

    /** The number of the layer that a module is in, if its path has one where the config looks for it. */
    public OptionalInt layerOf(String modulePath) {
        return choice.layerOf(modulePath);
    }

    /** Whether the module is left out whatever the targets say. */
    public boolean isExcluded(String modulePath) {
        return choice.isExcluded(modulePath);
    }

    /** The rank of an adapted module. */
    public int rank(String modulePath) {
        return ranks.apply(modulePath).orElse(config.r());
    }

    /** Alpha of an adapted module. */
    public double alpha(String modulePath) {
        return alphas.apply(modulePath).orElse(config.alpha());
    }

    /** What B A x is multiplied with: alpha / r, or alpha / sqrt(r). */
    public double scale(String modulePath) {
        int r = rank(modulePath);
        return alpha(modulePath) / (config.rslora() ? Math.sqrt(r) : r);
    }
}
