package org.peft4j.config;

import java.util.Locale;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * How the learning rate changes in the course of training: it rises in the warm-up, then {@link Schedule} says. A setting of
 * another schedule is refused.
 *
 * @param type the way after the warm-up
 * @param warmupSteps optimiser steps in which the rate rises from 0
 * @param warmupRatio the same as a share of all steps, rounded up; only one of the two may be given
 * @param minRate share of the rate that is left at the end; of linear, cosine, polynomial and warmup-stable-decay
 * @param power exponent of polynomial; 1 where none is given
 * @param decaySteps optimiser steps in which warmup-stable-decay falls at the end; has to be given there
 * @param decay how it falls in them; cosine where nothing is given
 * @param timescale steps after which inverse-sqrt has fallen by the root of 2; the warm-up's steps, or 10,000 without one,
 *     where none is given
 */
public record ScheduleConfig(
        Schedule type,
        long warmupSteps,
        double warmupRatio,
        double minRate,
        @Nullable Double power,
        @Nullable Long decaySteps,
        @Nullable Decay decay,
        @Nullable Long timescale) {
    /** How warmup-stable-decay falls: transformers' {@code decay_type}. */
    public enum Decay {
        LINEAR("linear") {
            @Override
            double left(double done) {
                return 1 - done;
            }
        },
        COSINE("cosine") {
            @Override
            double left(double done) {
                return Schedule.cosine(done);
            }
        },
        ONE_MINUS_SQRT("1-sqrt") {
            @Override
            double left(double done) {
                return 1 - Math.sqrt(done);
            }
        };

        private final String fileName;

        Decay(String fileName) {
            this.fileName = fileName;
        }

        /** As files write it. */
        public String fileName() {
            return fileName;
        }

        abstract double left(double done);
    }

    public ScheduleConfig {
        Objects.requireNonNull(type, "type");
        Checks.atLeast(0, warmupSteps, "warmupSteps");
        Checks.share(warmupRatio, "warmupRatio");
        if (warmupSteps > 0 && warmupRatio > 0) {
            throw new IllegalArgumentException("warmupRatio has no meaning beside warmupSteps, got " + warmupRatio
                    + " and " + warmupSteps + "; leave one of them out, or at 0");
        }
        Checks.share(minRate, "minRate");
        refuse(type, minRate == 0 ? null : minRate, "minRate");
        refuse(type, power, "power");
        refuse(type, decaySteps, "decaySteps");
        refuse(type, decay, "decay");
        refuse(type, timescale, "timescale");
        if (type == Schedule.POLYNOMIAL) {
            power = power == null ? 1.0 : power;
            Checks.positive(power, "power");
        }
        if (type == Schedule.WARMUP_STABLE_DECAY) {
            if (decaySteps == null) {
                throw new IllegalArgumentException("decaySteps must say in how many steps the rate of " + name(type)
                        + " falls at the end, got none");
            }
            Checks.atLeast(0, decaySteps, "decaySteps");
            decay = decay == null ? Decay.COSINE : decay;
        }
        if (timescale != null) {
            Checks.atLeast(1, timescale, "timescale");
        }
    }

    private static void refuse(Schedule type, @Nullable Object value, String setting) {
        if (value != null && !type.has(setting)) {
            throw new IllegalArgumentException(
                    setting + " means nothing for the schedule " + name(type) + ", got " + value + "; leave it out");
        }
    }

    private static String name(Schedule type) {
        return type.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** Linear, without warm-up. */
    public static ScheduleConfig defaults() {
        return builder(Schedule.LINEAR).build();
    }

    /** A builder for a schedule of this type. */
    public static Builder builder(Schedule type) {
        return new Builder(type);
    }

    /** A builder that has these settings. */
    public Builder toBuilder() {
        Builder builder = new Builder(type);
        builder.warmupSteps = warmupSteps;
        builder.warmupRatio = warmupRatio;
        builder.minRate = minRate;
        builder.power = power;
        builder.decaySteps = decaySteps;
        builder.decay = decay;
        builder.timescale = timescale;
        return builder;
    }

    /** The same with another warm-up. */
    public ScheduleConfig withWarmupSteps(long steps) {
        return toBuilder().warmupSteps(steps).build();
    }

    /** The same with another warm-up, as a share of all steps. */
    public ScheduleConfig withWarmupRatio(double ratio) {
        return toBuilder().warmupRatio(ratio).build();
    }

    /** Steps of the warm-up in a run of {@code total} optimiser steps. */
    public long warmup(long total) {
        return warmupSteps > 0 ? warmupSteps : (long) Math.ceil(total * warmupRatio);
    }

    /**
     * What the learning rate is multiplied with.
     *
     * @param step optimiser steps already done, so 0 at the first
     * @param total optimiser steps of the whole run
     */
    public double factor(long step, long total) {
        long warmup = warmup(total);
        return step < warmup ? type.warming(this, (double) step / warmup) : type.afterWarmup(this, step, warmup, total);
    }

    /**
     * Builds a {@link ScheduleConfig}. Each method sets what has its name
     * in {@link ScheduleConfig}, where it is described. For one thread; {@code build} may be called again.
     */
    public static final class Builder {
        private final Schedule type;
        private long warmupSteps;
        private double warmupRatio;
        private double minRate;
        private @Nullable Double power;
        private @Nullable Long decaySteps;
        private @Nullable Decay decay;
        private @Nullable Long timescale;

        private Builder(Schedule type) {
            this.type = type;
        }

        public Builder warmupSteps(long value) {
            warmupSteps = value;
            return this;
        }

        public Builder warmupRatio(double value) {
            warmupRatio = value;
            return this;
        }

        public Builder minRate(double value) {
            minRate = value;
            return this;
        }

        public Builder power(double value) {
            power = value;
            return this;
        }

        public Builder decaySteps(long value) {
            decaySteps = value;
            return this;
        }

        public Builder decay(Decay value) {
            decay = value;
            return this;
        }

        public Builder timescale(long value) {
            timescale = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public ScheduleConfig build() {
            return new ScheduleConfig(type, warmupSteps, warmupRatio, minRate, power, decaySteps, decay, timescale);
        }
    }
}
