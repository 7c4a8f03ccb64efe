package org.peft4j.method.xlora;

import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.MethodConfig;

/**
 * Settings of X-LoRA: E plain LoRA adapters of one model, the experts, are mixed anew for each token,
 * {@code y = W x + g Σ_e w_e s_e B_e A_e x}. A classifier reads the last hidden states of a first pass, which the model makes without
 * the experts, and gives the weights w.
 *
 * <p>Names and defaults are those of Hugging Face PEFT, without its {@code xlora_} and {@code _lora}.
 *
 * @param adapters the experts' directories by names of the caller's; their order is that of the weights
 * @param depth linear layers of the classifier, 1 or more
 * @param size width between them, where there are several
 * @param dropout probability of dropping what is between them while training, 0 to below 1
 * @param layerwiseScalings each adapted layer has weights of its own; else all have the same
 * @param enableSoftmax a token's weights are probabilities; else what the classifier gives
 * @param enableSoftmaxTopk a softmax over those weights that are not 0, after the choice of {@code topK}
 * @param softmaxTemperature what the classifier gives is divided by this before the softmax; lower is sharper
 * @param topK only so many experts of a token keep their weight, the largest ones; the others' is 0, and nothing is scaled for
 *     it; null: all
 * @param globalScalingWeight g: what all experts add is multiplied with it
 * @param scalingPassValue weight of every expert in the first pass; 0: the model alone
 * @param useTrainableAdapters the experts are trained, too; else the classifier alone
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head; the first pass has the model's own, where
 *     {@code scalingPassValue} is 0
 * @see <a href="https://arxiv.org/abs/2402.07148">X-LoRA: Mixture of Low-Rank Adapter Experts</a>
 */
public record XLoraConfig(
        Map<String, Path> adapters,
        int depth,
        int size,
        double dropout,
        boolean layerwiseScalings,
        boolean enableSoftmax,
        boolean enableSoftmaxTopk,
        double softmaxTemperature,
        @Nullable Integer topK,
        double globalScalingWeight,
        double scalingPassValue,
        boolean useTrainableAdapters,
        List<String> modulesToSave)
        implements MethodConfig {
    private static final int MOST_DEPTH = 64;

    /** Wider than any model. */
    private static final int MOST_SIZE = 1 << 20;

    /** More than anybody mixes. */
    private static final int MOST_EXPERTS = 1024;

    public XLoraConfig {
        adapters = Collections.unmodifiableMap(new LinkedHashMap<>(adapters)); // the order counts
        if (adapters.size() > MOST_EXPERTS) {
            throw new IllegalArgumentException(
                    "adapters must name at most " + MOST_EXPERTS + " adapters, got " + adapters.size());
        }
        check("depth", depth, MOST_DEPTH);
        check("size", size, MOST_SIZE);
        if (!(dropout >= 0 && dropout < 1)) { // also refuses NaN
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        if (!(softmaxTemperature >= Float.MIN_NORMAL && softmaxTemperature <= Float.MAX_VALUE)) {
            throw new IllegalArgumentException(
                    "softmaxTemperature must be a positive number that float32 holds, got " + softmaxTemperature);
        }
        if (topK != null && topK < 1) {
            throw new IllegalArgumentException("topK must be at least 1, got " + topK);
        }
        if (topK != null && !adapters.isEmpty() && topK > adapters.size()) {
            throw new IllegalArgumentException(
                    "topK must be at most " + adapters.size() + ", the number of adapters, got " + topK);
        }
        checkFinite("globalScalingWeight", globalScalingWeight);
        checkFinite("scalingPassValue", scalingPassValue);
        if (scalingPassValue != 0 && topK != null && topK < adapters.size()) {
            throw new IllegalArgumentException(
                    "scalingPassValue must be 0 where topK chooses some of the adapters: of equal"
                            + " weights nothing says which are the largest, got "
                            + scalingPassValue);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    private static void check(String name, int value, int most) {
        if (value < 1 || value > most) {
            throw new IllegalArgumentException(
                    name + " must be " + (value < 1 ? "at least 1" : "at most " + most) + ", got " + value);
        }
    }

    private static void checkFinite(String name, double value) {
        if (!(Math.abs(value) <= Float.MAX_VALUE)) {
            throw new IllegalArgumentException(name + " must be a number that float32 holds, got " + value);
        }
    }

    /** PEFT's defaults: a classifier of one layer, probabilities of all experts; the adapters have to be named. */
    public static XLoraConfig defaults() {
        return builder().build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** A builder that begins with these settings. */
    public Builder toBuilder() {
        return new Builder()
                .adapters(adapters)
                .depth(depth)
                .size(size)
                .dropout(dropout)
                .layerwiseScalings(layerwiseScalings)
                .enableSoftmax(enableSoftmax)
                .enableSoftmaxTopk(enableSoftmaxTopk)
                .softmaxTemperature(softmaxTemperature)
                .topK(topK)
                .globalScalingWeight(globalScalingWeight)
                .scalingPassValue(scalingPassValue)
                .useTrainableAdapters(useTrainableAdapters)
                .modulesToSave(modulesToSave);
    }

    @Override
    public List<Path> madeFrom() {
        return List.copyOf(adapters.values());
    }

    @Override
    public XLoraConfig withModulesToSave(List<String> modules) {
        return toBuilder().modulesToSave(modules).build();
    }

    /**
     * Builds an {@link XLoraConfig}; every setting has PEFT's default. Each method sets what has its name in {@link XLoraConfig},
     * where it is described. For one thread; {@code build} may be called again.
     */
    public static final class Builder {
        private Map<String, Path> adapters = Map.of();
        private int depth = 1;
        private int size = 2048;
        private double dropout = 0.2;
        private boolean layerwiseScalings;
        private boolean enableSoftmax = true;
        private boolean enableSoftmaxTopk;
        private double softmaxTemperature = 1;
        private @Nullable Integer topK;
        private double globalScalingWeight = 1;
        private double scalingPassValue;
        private boolean useTrainableAdapters;
        private List<String> modulesToSave = List.of();

        private Builder() {}

        /** The order of the map is that of the weights. */
        public Builder adapters(Map<String, Path> value) {
            adapters = value;
            return this;
        }

        public Builder depth(int value) {
            depth = value;
            return this;
        }

        public Builder size(int value) {
            size = value;
            return this;
        }

        public Builder dropout(double value) {
            dropout = value;
            return this;
        }

        public Builder layerwiseScalings(boolean value) {
            layerwiseScalings = value;
            return this;
        }

        public Builder enableSoftmax(boolean value) {
            enableSoftmax = value;
            return this;
        }

        public Builder enableSoftmaxTopk(boolean value) {
            enableSoftmaxTopk = value;
            return this;
        }

        public Builder softmaxTemperature(double value) {
            softmaxTemperature = value;
            return this;
        }

        public Builder topK(@Nullable Integer value) {
            topK = value;
            return this;
        }

        public Builder globalScalingWeight(double value) {
            globalScalingWeight = value;
            return this;
        }

        public Builder scalingPassValue(double value) {
            scalingPassValue = value;
            return this;
        }

        public Builder useTrainableAdapters(boolean value) {
            useTrainableAdapters = value;
            return this;
        }

        public Builder modulesToSave(List<String> value) {
            modulesToSave = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public XLoraConfig build() {
            return new XLoraConfig(
                    adapters,
                    depth,
                    size,
                    dropout,
                    layerwiseScalings,
                    enableSoftmax,
                    enableSoftmaxTopk,
                    softmaxTemperature,
                    topK,
                    globalScalingWeight,
                    scalingPassValue,
                    useTrainableAdapters,
                    modulesToSave);
        }
    }
}
