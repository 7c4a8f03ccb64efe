package org.peft4j.config;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.IntToLongFunction;
import org.jspecify.annotations.Nullable;

/**
 * How a run trains.
 *
 * @param epochs how often all of the data is seen
 * @param maxSteps stop after this many optimiser steps; 0 means no limit
 * @param batch how much goes through one forward and backward pass
 * @param optimizer how parameters are changed by their gradients
 * @param schedule how the learning rate changes in the course of training
 * @param maxGradNorm gradients are scaled down to this norm; 0 means never
 * @param gradientAccumulation batches whose gradients are added up for one optimiser step
 * @param checkpointing what is computed again in the backward pass instead of being kept from the forward pass
 * @param seed of initial weights, dropout and order
 * @param shuffle whether each epoch has its own order; else that of the file
 * @param logEvery optimiser steps between two lines of output; metrics.jsonl has all of them
 * @param saveEvery optimiser steps between two saves of the adapter; 0 means at the end of each epoch only
 * @param evaluateEvery optimiser steps between two evaluations on the validation rows; 0 means at the end of each epoch
 *     only, where there always is one
 * @param groups what parameter groups do differently, by their names
 */
public record TrainingConfig(
        int epochs,
        long maxSteps,
        BatchLimit batch,
        OptimizerConfig optimizer,
        ScheduleConfig schedule,
        double maxGradNorm,
        int gradientAccumulation,
        Checkpointing checkpointing,
        long seed,
        boolean shuffle,
        int logEvery,
        long saveEvery,
        long evaluateEvery,
        Map<String, GroupOverride> groups) {
    /**
     * How much goes through one forward and backward pass: one of both is given. In run files they stand among the other keys.
     *
     * @param batchSize examples
     * @param batchTokens most tokens: batches take examples, in the epoch's order, as long as they have no more together. A
     *     longer example is a batch by itself
     */
    public record BatchLimit(
            @Nullable Integer batchSize, @Nullable Integer batchTokens) {
        public BatchLimit {
            if (batchSize != null && batchTokens != null) {
                throw new IllegalArgumentException(
                        "batchTokens must stand alone, but batch_size is given, too; leave one of them out");
            }
            if (batchSize == null && batchTokens == null) {
                throw new IllegalArgumentException("batchSize must be given, or batch_tokens; got none of them");
            }
            if (batchSize != null) {
                Checks.atLeast(1, batchSize, "batchSize");
            }
            if (batchTokens != null) {
                Checks.atLeast(1, batchTokens, "batchTokens");
            }
        }
    }

    /** What is computed again in the backward pass: time for memory. */
    public enum Checkpointing {
        /** Nothing. */
        NONE,
        /** Each block, from its input. */
        BLOCK
    }

    public TrainingConfig {
        Checks.atLeast(1, epochs, "epochs");
        Checks.atLeast(0, maxSteps, "maxSteps");
        Objects.requireNonNull(batch, "batch");
        Objects.requireNonNull(optimizer, "optimizer");
        Objects.requireNonNull(schedule, "schedule");
        Checks.atLeastZero(maxGradNorm, "maxGradNorm");
        Checks.atLeast(1, gradientAccumulation, "gradientAccumulation");
        Objects.requireNonNull(checkpointing, "checkpointing");
        Checks.atLeast(1, logEvery, "logEvery");
        Checks.atLeast(0, saveEvery, "saveEvery");
        Checks.atLeast(0, evaluateEvery, "evaluateEvery");
        groups = Collections.unmodifiableMap(new LinkedHashMap<>(groups));
        if (optimizer.learningRate() == null) {
            checkOwnRate(schedule, groups);
        }
    }

    /** Of an optimiser that makes its own learning rate nothing else may say one. */
    private static void checkOwnRate(ScheduleConfig schedule, Map<String, GroupOverride> groups) {
        if (!schedule.equals(ScheduleConfig.builder(Schedule.CONSTANT).build())) {
            throw new IllegalArgumentException(
                    "schedule must be constant, without a warm-up, beside the optimizer's relative_step,"
                            + " which makes its own rate, got "
                            + schedule.type().name().toLowerCase(Locale.ROOT)
                            + (schedule.warmupSteps() > 0 || schedule.warmupRatio() > 0 ? " with a warm-up" : "")
                            + "; for a warm-up set warmup_init");
        }
        groups.forEach((name, override) -> {
            if (override.learningRate() != null) {
                throw new IllegalArgumentException("groups must not give '" + name
                        + "' a learning_rate beside the optimizer's relative_step, which makes its own, got "
                        + override.learningRate());
            }
        });
    }

    /** One epoch, batches of 16, rate 5e-4 falling linearly. */
    public static TrainingConfig defaults() {
        return builder().build();
    }

    /** The same training with another optimiser, and what its groups do differently. */
    public TrainingConfig withOptimizer(OptimizerConfig other, Map<String, GroupOverride> itsGroups) {
        return new TrainingConfig(
                epochs,
                maxSteps,
                batch,
                other,
                schedule,
                maxGradNorm,
                gradientAccumulation,
                checkpointing,
                seed,
                shuffle,
                logEvery,
                saveEvery,
                evaluateEvery,
                itsGroups);
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** Examples in one forward and backward pass; 0 where tokens limit it. */
    public int batchSize() {
        return batch.batchSize() == null ? 0 : batch.batchSize();
    }

    /** Most tokens in one forward and backward pass; 0 where examples are counted. */
    public int batchTokens() {
        return batch.batchTokens() == null ? 0 : batch.batchTokens();
    }

    /**
     * Optimiser steps of a run: the last step of an epoch may have fewer batches.
     *
     * @param batches how many an epoch (from 0) has
     */
    public long totalSteps(IntToLongFunction batches) {
        long steps = 0;
        for (int epoch = 0; epoch < epochs && (maxSteps == 0 || steps < maxSteps); epoch++) {
            steps += (batches.applyAsLong(epoch) + gradientAccumulation - 1) / gradientAccumulation;
        }
        return maxSteps == 0 ? steps : Math.min(maxSteps, steps);
    }

    /**
     * Builds a {@link TrainingConfig}; every setting has a default. Each method sets what has its name
     * in {@link TrainingConfig}, where it is described. For one thread; {@code build} may be called again.
     */
    public static final class Builder {
        private int epochs = 1;
        private long maxSteps;
        private BatchLimit batch = new BatchLimit(16, null);
        private OptimizerConfig optimizer = OptimizerConfig.defaults();
        private ScheduleConfig schedule = ScheduleConfig.defaults();
        private double maxGradNorm = 1.0;
        private int gradientAccumulation = 1;
        private Checkpointing checkpointing = Checkpointing.NONE;
        private long seed;
        private boolean shuffle = true;
        private int logEvery = 10;
        private long saveEvery;
        private long evaluateEvery;
        private Map<String, GroupOverride> groups = Map.of();

        private Builder() {}

        public Builder epochs(int value) {
            epochs = value;
            return this;
        }

        public Builder maxSteps(long value) {
            maxSteps = value;
            return this;
        }

        /** The number of examples in one forward and backward pass. */
        public Builder batchSize(int value) {
            batch = new BatchLimit(value, null);
            return this;
        }

        /** The most tokens in one forward and backward pass, in place of a number of examples. */
        public Builder batchTokens(int value) {
            batch = new BatchLimit(null, value);
            return this;
        }

        public Builder optimizer(OptimizerConfig value) {
            optimizer = value;
            return this;
        }

        /** The optimizer's highest learning rate. */
        public Builder learningRate(double value) {
            return optimizer(optimizer.withLearningRate(value));
        }

        /** The optimizer's decay of matrices. */
        public Builder weightDecay(double value) {
            return optimizer(optimizer.withWeightDecay(value));
        }

        public Builder schedule(ScheduleConfig value) {
            schedule = value;
            return this;
        }

        /** A schedule of this type with the warm-up that is set already. */
        public Builder schedule(Schedule type) {
            return schedule(ScheduleConfig.builder(type)
                    .warmupSteps(schedule.warmupSteps())
                    .warmupRatio(schedule.warmupRatio())
                    .build());
        }

        /** The schedule's warm-up in steps. */
        public Builder warmupSteps(long value) {
            return schedule(schedule.withWarmupSteps(value));
        }

        /** The schedule's warm-up as a share of all steps. */
        public Builder warmupRatio(double value) {
            return schedule(schedule.withWarmupRatio(value));
        }

        public Builder maxGradNorm(double value) {
            maxGradNorm = value;
            return this;
        }

        public Builder gradientAccumulation(int value) {
            gradientAccumulation = value;
            return this;
        }

        public Builder checkpointing(Checkpointing value) {
            checkpointing = value;
            return this;
        }

        public Builder seed(long value) {
            seed = value;
            return this;
        }

        public Builder shuffle(boolean value) {
            shuffle = value;
            return this;
        }

        public Builder logEvery(int value) {
            logEvery = value;
            return this;
        }

        public Builder saveEvery(long value) {
            saveEvery = value;
            return this;
        }

        public Builder evaluateEvery(long value) {
            evaluateEvery = value;
            return this;
        }

        public Builder groups(Map<String, GroupOverride> value) {
            groups = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public TrainingConfig build() {
            return new TrainingConfig(
                    epochs,
                    maxSteps,
                    batch,
                    optimizer,
                    schedule,
                    maxGradNorm,
                    gradientAccumulation,
                    checkpointing,
                    seed,
                    shuffle,
                    logEvery,
                    saveEvery,
                    evaluateEvery,
                    groups);
        }
    }
}
