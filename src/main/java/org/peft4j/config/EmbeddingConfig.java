package org.peft4j.config;

import org.jspecify.annotations.Nullable;

/**
 * The task of giving each text a vector that lies near those of texts that mean the same.
 *
 * @param text name of the column with the text
 * @param positive name of the column with a text that belongs to it
 * @param score name of the column that says how alike the two are, or null; with it the loss is cosine
 * @param pooling which hidden states become the vector; null as the model directory says, else the mean
 * @param normalize whether vectors get length 1; null as the model directory says, else not
 * @param loss what training makes small; null chooses by {@code score}
 * @param scale what cosines are multiplied with where in-batch negatives are told apart; without meaning for the cosine loss
 * @param maxLength most tokens of a text, special tokens included; longer texts are cut and counted
 * @param taskId which of the adapter's tasks a row is of, where it has several; null: nothing is said
 */
public record EmbeddingConfig(
        String text,
        String positive,
        @Nullable String score,
        @Nullable Pooling pooling,
        @Nullable Boolean normalize,
        @Nullable Loss loss,
        double scale,
        int maxLength,
        @Nullable TaskId taskId)
        implements TaskConfig {
    /** The name of the task in files. */
    public static final String TYPE = "embedding";

    private static final double SCALE = 20;

    /** What training makes small. */
    public enum Loss {
        /**
         * Each text has to find its own among all positives of the batch. A pair that would be alone in the last batch of an
         * epoch is left out of it.
         */
        IN_BATCH_NEGATIVES,
        /** The cosine of the two vectors has to be the score. */
        COSINE
    }

    public EmbeddingConfig {
        Checks.column(text, "text");
        Checks.column(positive, "positive");
        if (score != null) {
            Checks.column(score, "score");
        }
        if (loss == null) {
            loss = score == null ? Loss.IN_BATCH_NEGATIVES : Loss.COSINE;
        } else if (loss == Loss.COSINE && score == null) {
            throw new IllegalArgumentException(
                    "score must name the column that says how alike two texts are where loss is cosine, got none");
        } else if (loss == Loss.IN_BATCH_NEGATIVES && score != null) {
            throw new IllegalArgumentException("score has no meaning where loss is in-batch-negatives, got '" + score
                    + "'; leave one of them out");
        }
        Checks.positive(scale, "scale");
        if (loss == Loss.COSINE && scale != SCALE) {
            throw new IllegalArgumentException(
                    "scale has no meaning where loss is cosine, got " + scale + "; leave one of them out");
        }
        Checks.maxLength(maxLength);
    }

    @Override
    public String type() {
        return TYPE;
    }

    /** Pairs in the columns "text" and "positive", in-batch negatives, pooling as the model says, at most 256 tokens. */
    public static EmbeddingConfig defaults() {
        return builder().build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** A builder that has these settings. */
    public Builder toBuilder() {
        Builder builder = new Builder();
        builder.text = text;
        builder.positive = positive;
        builder.score = score;
        builder.pooling = pooling;
        builder.normalize = normalize;
        builder.loss = loss;
        builder.scale = scale;
        builder.maxLength = maxLength;
        builder.taskId = taskId;
        return builder;
    }

    /**
     * Builds an {@link EmbeddingConfig}; every setting has a default. Each method sets what has its name
     * in {@link EmbeddingConfig}, where it is described. For one thread; {@code build} may be called again.
     */
    public static final class Builder {
        private String text = "text";
        private String positive = "positive";
        private @Nullable String score;
        private @Nullable Pooling pooling;
        private @Nullable Boolean normalize;
        private @Nullable Loss loss;
        private double scale = SCALE;
        private int maxLength = MAX_LENGTH;
        private @Nullable TaskId taskId;

        private Builder() {}

        public Builder text(String column) {
            text = column;
            return this;
        }

        public Builder positive(String column) {
            positive = column;
            return this;
        }

        public Builder score(@Nullable String column) {
            score = column;
            return this;
        }

        public Builder pooling(@Nullable Pooling value) {
            pooling = value;
            return this;
        }

        public Builder normalize(@Nullable Boolean value) {
            normalize = value;
            return this;
        }

        public Builder loss(@Nullable Loss value) {
            loss = value;
            return this;
        }

        public Builder scale(double value) {
            scale = value;
            return this;
        }

        public Builder maxLength(int tokens) {
            maxLength = tokens;
            return this;
        }

        public Builder taskId(@Nullable TaskId value) {
            taskId = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public EmbeddingConfig build() {
            return new EmbeddingConfig(text, positive, score, pooling, normalize, loss, scale, maxLength, taskId);
        }
    }
}
