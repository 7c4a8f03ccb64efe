package org.peft4j.config;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/**
 * How a run trains.
 *
 * @param epochs how often all of the data is seen
 * @param maxSteps stop after this many optimiser steps; 0 means no limit
 * @param batchSize examples in one forward and backward pass
 * @param learningRate the highest learning rate
 * @param schedule how the learning rate falls
 * @param warmupSteps optimiser steps in which it rises from 0
 * @param weightDecay decay of matrices; norms and biases have none
 * @param maxGradNorm gradients are scaled down to this norm; 0 means never
 * @param gradientAccumulation batches whose gradients are added up for one optimiser step
 * @param seed of initial weights, dropout and order
 * @param shuffle whether each epoch has its own order; else that of the file
 * @param dtype form of the frozen weights
 * @param logEvery optimiser steps between two lines of output; metrics.jsonl has all of them
 * @param saveEvery optimiser steps between two saves of the adapter; 0 means at the end of each epoch only
 * @param evaluateEvery optimiser steps between two evaluations on the validation rows; 0 means at the end of each epoch
 *     only, where there always is one
 * @param groups what parameter groups do differently, by their names
 */
public record TrainingConfig(
        int epochs,
        long maxSteps,
        int batchSize,
        double learningRate,
        Schedule schedule,
        long warmupSteps,
        double weightDecay,
        double maxGradNorm,
        int gradientAccumulation,
        long seed,
        boolean shuffle,
        Dtype dtype,
        int logEvery,
        long saveEvery,
        long evaluateEvery,
        Map<String, GroupOverride> groups) {
    /** In which form the frozen weights lie in memory; adapters are always float32. */
    public enum Dtype {
        FLOAT32,
        /** Half the memory of the weights; faster too on processors that compute in it. */
        BFLOAT16
    }

    public TrainingConfig {
        atLeast(1, epochs, "epochs");
        atLeast(0, maxSteps, "maxSteps");
        atLeast(1, batchSize, "batchSize");
        atLeastZero(learningRate, "learningRate");
        Objects.requireNonNull(schedule, "schedule");
        atLeast(0, warmupSteps, "warmupSteps");
        atLeastZero(weightDecay, "weightDecay");
        atLeastZero(maxGradNorm, "maxGradNorm");
        atLeast(1, gradientAccumulation, "gradientAccumulation");
        Objects.requireNonNull(dtype, "dtype");
        atLeast(1, logEvery, "logEvery");
        atLeast(0, saveEvery, "saveEvery");
        atLeast(0, evaluateEvery, "evaluateEvery");
        groups = Collections.unmodifiableMap(new LinkedHashMap<>(groups));
    }

    private static void atLeast(long least, long value, String name) {
        if (value < least) {
            throw new IllegalArgumentException(name + " must be at least " + least + ", got " + value);
        }
    }

    private static void atLeastZero(double value, String name) {
        if (!(value >= 0 && value < Double.POSITIVE_INFINITY)) { // also refuses NaN
            throw new IllegalArgumentException(name + " must be at least 0, got " + value);
        }
    }

    /** One epoch, batches of 16, rate 5e-4 falling linearly. */
    public static TrainingConfig defaults() {
        return builder().build();
    }

    public static Builder builder() {
        return new Builder();
    }

    /** Optimiser steps of a run over this many examples: the last step of an epoch may have fewer batches. */
    public long totalSteps(long examples) {
        long batches = (examples + batchSize - 1) / batchSize;
        long stepsPerEpoch = (batches + gradientAccumulation - 1) / gradientAccumulation;
        long steps = Math.multiplyExact(stepsPerEpoch, (long) epochs);
        return maxSteps == 0 ? steps : Math.min(maxSteps, steps);
    }

    /** Builds a {@link TrainingConfig}; every setting has a default. */
    public static final class Builder {
        private int epochs = 1;
        private long maxSteps;
        private int batchSize = 16;
        private double learningRate = 5e-4;
        private Schedule schedule = Schedule.LINEAR;
        private long warmupSteps;
        private double weightDecay = 0.01;
        private double maxGradNorm = 1.0;
        private int gradientAccumulation = 1;
        private long seed;
        private boolean shuffle = true;
        private Dtype dtype = Dtype.FLOAT32;
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

        public Builder batchSize(int value) {
            batchSize = value;
            return this;
        }

        public Builder learningRate(double value) {
            learningRate = value;
            return this;
        }

        public Builder schedule(Schedule value) {
            schedule = value;
            return this;
        }

        public Builder warmupSteps(long value) {
            warmupSteps = value;
            return this;
        }

        public Builder weightDecay(double value) {
            weightDecay = value;
            return this;
        }

        public Builder maxGradNorm(double value) {
            maxGradNorm = value;
            return this;
        }

        public Builder gradientAccumulation(int value) {
            gradientAccumulation = value;
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

        public Builder dtype(Dtype value) {
            dtype = value;
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

        public TrainingConfig build() {
            return new TrainingConfig(
                    epochs,
                    maxSteps,
                    batchSize,
                    learningRate,
                    schedule,
                    warmupSteps,
                    weightDecay,
                    maxGradNorm,
                    gradientAccumulation,
                    seed,
                    shuffle,
                    dtype,
                    logEvery,
                    saveEvery,
                    evaluateEvery,
                    groups);
        }
    }
}
