package org.peft4j.method.lora;

import java.util.Locale;

/**
 * How {@link InitLora#LORA_GA} makes A and B of the gradient's singular vectors; names and defaults are those of Hugging Face PEFT's
 * {@code LoraGAConfig}.
 *
 * @param direction which vectors become rows of A, and which columns of B
 * @param scale how large they are
 * @param stableGamma what scale stable divides by: B is multiplied with {@code out^(1/4) / sqrt(gamma)}
 */
public record LoraGaConfig(Direction direction, Scale scale, int stableGamma) {
    /** Which of the first 2 r singular vectors, counted from 0, A and B begin with. */
    public enum Direction {
        /** A the first r, B the second r. */
        AR_B2R("ArB2r"),
        /** A the second r, B the first r. */
        A2R_BR("A2rBr"),
        /** A the odd ones, B the even ones. */
        AR_BR("ArBr"),
        /** Both the same r, drawn by the seed. */
        RANDOM("random");

        private final String fileName;

        Direction(String fileName) {
            this.fileName = fileName;
        }

        /** Its name in files: PEFT's. */
        public String fileName() {
            return fileName;
        }
    }

    /** How large A and B are; B's columns have their singular values in each. */
    public enum Scale {
        /** B times {@code out^(1/4) / sqrt(gamma)}. */
        STABLE,
        /** B times the largest singular value of W over B's first one. */
        WEIGHT_SVD,
        /** Both divided by LoRA's scale. */
        GD_SCALE,
        /** As they are. */
        UNIT;

        /** Its name in files: PEFT's. */
        public String fileName() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private static final LoraGaConfig DEFAULTS = new LoraGaConfig(Direction.AR_B2R, Scale.STABLE, 16);

    public LoraGaConfig {
        if (stableGamma < 1) {
            throw new IllegalArgumentException("stableGamma must be at least 1, got " + stableGamma);
        }
        if (stableGamma != 16 && scale != Scale.STABLE) {
            throw new IllegalArgumentException(
                    "stableGamma is for scale stable alone, got " + stableGamma + " with scale " + scale.fileName());
        }
    }

    /** ArB2r, stable, gamma 16. */
    public static LoraGaConfig defaults() {
        return DEFAULTS;
    }
}
