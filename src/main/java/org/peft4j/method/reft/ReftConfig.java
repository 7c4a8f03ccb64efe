package org.peft4j.method.reft;

import java.util.List;
import java.util.Objects;
import org.peft4j.method.MethodConfig;

/**
 * Settings of representation fine-tuning: behind layers, rows of the first and of the last tokens of each prompt are edited,
 *
 * <pre>
 * h' = dropout(h + Rᵀ (g(W h + c) − R h))
 * </pre>
 *
 * with W and R [r, width]. All other rows stay as they are; weights do, too. Settings and named configurations ({@link #loreft},
 * {@link #noreft}, {@link #direft}) are those of AdapterHub's library. At the start W, c and R are what torch gives linear layers (R's
 * rows made orthonormal), so that something is changed from the first step on.
 *
 * <p><b>Which rows.</b> Places are counted on the tokens of the prompt, rows that other adapters insert before it aside. Of rows with a
 * prompt and a response the prompt ends before the response, of conversations before the first answer; a text all of which is learnt, or
 * which is classified, tagged or embedded, is a prompt as a whole. What is generated behind a prompt is never edited. Where a prompt is
 * so short that the first and the last tokens meet, those that are both count as last ones. Rows that nobody reads behind the last layer
 * are not edited there, as it would change nothing: in a language model the last layer's edits of first tokens, for instance.
 *
 * <p><b>Units.</b> W, c and R of first tokens are one unit, those of last tokens another one. Where no tokens of a kind are edited its unit
 * is not there; AdapterHub's library makes it, and nothing trains it.
 *
 * @param r rank, at most the width
 * @param prefixPositions how many of the first tokens are edited, 0 or more
 * @param suffixPositions how many of the last tokens are edited, 0 or more; not both are 0
 * @param tiedWeights whether first and last tokens have one unit together
 * @param orthogonality whether R's rows are orthonormal, at each step ({@code torch.nn.utils.parametrizations.orthogonal}'s Householder
 *     map); else R is free
 * @param subtractProjection whether R h is subtracted
 * @param nonLinearity g
 * @param dropout probability of dropping an element of an edited row, as a whole, while training, 0 to below 1
 * @param layers behind which rows are edited
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2404.03592">ReFT: Representation Finetuning for Language Models</a>
 */
public record ReftConfig(
        int r,
        int prefixPositions,
        int suffixPositions,
        boolean tiedWeights,
        boolean orthogonality,
        boolean subtractProjection,
        NonLinearity nonLinearity,
        double dropout,
        ReftLayers layers,
        List<String> modulesToSave)
        implements MethodConfig {
    private static final int MOST = 1 << 16;

    /** Functions of W h + c. */
    public enum NonLinearity {
        /** As it is. */
        NONE,
        /** max(0, x). */
        RELU,
        /** x Φ(x), with the error function. */
        GELU,
        /** x times its sigmoid, as SiLU. */
        SWISH,
        /** The hyperbolic tangent. */
        TANH
    }

    public ReftConfig {
        if (r < 1 || r > MOST) {
            throw new IllegalArgumentException("r must be 1 to " + MOST + ", got " + r);
        }
        checkPositions("prefixPositions", prefixPositions);
        checkPositions("suffixPositions", suffixPositions);
        if (prefixPositions == 0 && suffixPositions == 0) {
            throw new IllegalArgumentException(
                    "prefixPositions and suffixPositions must not both be 0: no row would be edited");
        }
        Objects.requireNonNull(nonLinearity, "nonLinearity");
        if (!(dropout >= 0 && dropout < 1)) { // also refuses NaN
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        Objects.requireNonNull(layers, "layers");
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    private static void checkPositions(String name, int value) {
        if (value < 0 || value > MOST) {
            throw new IllegalArgumentException(name + " must be 0 to " + MOST + ", got " + value);
        }
    }

    /** {@link #loreft}. */
    public static ReftConfig defaults() {
        return loreft();
    }

    /** R with orthonormal rows, of which R h is subtracted; rank 1, the first three tokens. */
    public static ReftConfig loreft() {
        return new ReftConfig(1, 3, 0, false, true, true, NonLinearity.NONE, 0.05, ReftLayers.ALL, List.of());
    }

    /** {@link #loreft} with a free R. */
    public static ReftConfig noreft() {
        return loreft().toBuilder().orthogonality(false).build();
    }

    /** {@link #loreft} with a free R, and nothing subtracted. */
    public static ReftConfig direft() {
        return noreft().toBuilder().subtractProjection(false).build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return loreft().toBuilder();
    }

    /** A builder that begins with these settings. */
    public Builder toBuilder() {
        return new Builder(this);
    }

    @Override
    public ReftConfig withModulesToSave(List<String> modules) {
        return toBuilder().modulesToSave(modules).build();
    }

    /** Collects settings. */
    public static final class Builder {
        private int r;
        private int prefixPositions;
        private int suffixPositions;
        private boolean tiedWeights;
        private boolean orthogonality;
        private boolean subtractProjection;
        private NonLinearity nonLinearity;
        private double dropout;
        private ReftLayers layers;
        private List<String> modulesToSave;

        private Builder(ReftConfig config) {
            r = config.r;
            prefixPositions = config.prefixPositions;
            suffixPositions = config.suffixPositions;
            tiedWeights = config.tiedWeights;
            orthogonality = config.orthogonality;
            subtractProjection = config.subtractProjection;
            nonLinearity = config.nonLinearity;
            dropout = config.dropout;
            layers = config.layers;
            modulesToSave = config.modulesToSave;
        }

        public Builder r(int value) {
            r = value;
            return this;
        }

        /** How many of the first and of the last tokens are edited. */
        public Builder positions(int prefix, int suffix) {
            prefixPositions = prefix;
            suffixPositions = suffix;
            return this;
        }

        public Builder tiedWeights(boolean value) {
            tiedWeights = value;
            return this;
        }

        public Builder orthogonality(boolean value) {
            orthogonality = value;
            return this;
        }

        public Builder subtractProjection(boolean value) {
            subtractProjection = value;
            return this;
        }

        public Builder nonLinearity(NonLinearity value) {
            nonLinearity = value;
            return this;
        }

        public Builder dropout(double value) {
            dropout = value;
            return this;
        }

        public Builder layers(ReftLayers value) {
            layers = value;
            return this;
        }

        /** Numbers of layers, from 0. */
        public Builder layers(Integer... numbers) {
            layers = ReftLayers.of(List.of(numbers));
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
        public ReftConfig build() {
            return new ReftConfig(
                    r,
                    prefixPositions,
                    suffixPositions,
                    tiedWeights,
                    orthogonality,
                    subtractProjection,
                    nonLinearity,
                    dropout,
                    layers,
                    modulesToSave);
        }
    }
}
