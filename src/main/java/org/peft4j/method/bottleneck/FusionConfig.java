package org.peft4j.method.bottleneck;

import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.method.MethodConfig;

/**
 * Settings of AdapterFusion: at each sublayer where E frozen bottleneck adapters of one model stand, the experts, an attention mixes
 * what they add, row by row. With r the row that they read, {@code u_a} what expert a adds to it, and the query x, which is r:
 *
 * <pre>
 * q = W_q x + b_q     k_a = W_k u_a + b_k     v_a = W_v u_a     p = softmax over a of q · k_a
 * y = residual + Σ_a p_a v_a
 * </pre>
 *
 * <p>r, the residual and the block's norm are as with each of the experts alone ({@link OriginalNorms}; all must have the same),
 * {@code u_a} has its scaling, and no dropout of the expert's. Scores are not divided by √d. W_q and W_k begin normal with standard
 * deviation 0.02, biases with zeros, W_v with ones on its diagonal and 1e-6 beside it, so that y is nearly the mean of the experts.
 * Settings have the names of AdapterHub's library, but for {@code dropout} ({@code dropout_prob} there, where a model's own dropout
 * of attention stands in for none).
 *
 * @param adapters the experts' directories by names of the caller's; their order is that of the attention
 * @param value whether there is a W_v ({@code dynamic}); else {@code v_a = u_a} ({@code static})
 * @param regularization whether 0.01 ‖I − W_v‖², of all layers together, is added to the loss of each step; only with value
 * @param queryBeforeLn the query is what the sublayer gives, before the norm and without what goes around it; else r
 * @param dropout probability of setting a score to zero, and scaling the others, while training, 0 to below 1
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2005.00247">AdapterFusion: Non-Destructive Task Composition for Transfer Learning</a>
 */
public record FusionConfig(
        Map<String, Path> adapters,
        boolean value,
        boolean regularization,
        boolean queryBeforeLn,
        double dropout,
        List<String> modulesToSave)
        implements MethodConfig {
    /** More than anybody fuses. */
    private static final int MOST_EXPERTS = 1024;

    public FusionConfig {
        adapters = Collections.unmodifiableMap(new LinkedHashMap<>(adapters)); // the order counts
        if (adapters.size() > MOST_EXPERTS) {
            throw new IllegalArgumentException(
                    "adapters must name at most " + MOST_EXPERTS + " adapters, got " + adapters.size());
        }
        if (adapters.keySet().stream().anyMatch(String::isBlank)) {
            throw new IllegalArgumentException("adapters must have names that are not blank, got " + adapters.keySet());
        }
        if (regularization && !value) {
            throw new IllegalArgumentException(
                    "regularization must be false where value is: without W_v there is nothing"
                            + " to keep near the identity (config: static has both)");
        }
        if (!(dropout >= 0 && dropout < 1)) { // also refuses NaN
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** With W_v and its regularization, as that library's {@code dynamic}; the adapters have to be named. */
    public static FusionConfig defaults() {
        return builder().build();
    }

    /** Without W_v, as that library's {@code static}; the adapters have to be named. */
    public static FusionConfig withoutValue() {
        return builder().value(false).regularization(false).build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** A builder that begins with these settings. */
    public Builder toBuilder() {
        return new Builder()
                .adapters(adapters)
                .value(value)
                .regularization(regularization)
                .queryBeforeLn(queryBeforeLn)
                .dropout(dropout)
                .modulesToSave(modulesToSave);
    }

    @Override
    public List<Path> madeFrom() {
        return List.copyOf(adapters.values());
    }

    @Override
    public FusionConfig withModulesToSave(List<String> modules) {
        return toBuilder().modulesToSave(modules).build();
    }

    /**
     * Builds a {@link FusionConfig}. Each method sets what has its name in {@link FusionConfig}, where it is described. For one
     * thread; {@code build} may be called again.
     */
    public static final class Builder {
        private Map<String, Path> adapters = Map.of();
        private boolean value = true;
        private boolean regularization = true;
        private boolean queryBeforeLn;
        private double dropout;
        private List<String> modulesToSave = List.of();

        private Builder() {}

        /** The order of the map is that of the attention. */
        public Builder adapters(Map<String, Path> value) {
            adapters = value;
            return this;
        }

        public Builder value(boolean value) {
            this.value = value;
            return this;
        }

        public Builder regularization(boolean value) {
            regularization = value;
            return this;
        }

        public Builder queryBeforeLn(boolean value) {
            queryBeforeLn = value;
            return this;
        }

        public Builder dropout(double value) {
            dropout = value;
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
        public FusionConfig build() {
            return new FusionConfig(adapters, value, regularization, queryBeforeLn, dropout, modulesToSave);
        }
    }
}
