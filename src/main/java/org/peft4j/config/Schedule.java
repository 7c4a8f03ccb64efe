package org.peft4j.config;

/**
 * How the learning rate changes in the course of training. Every schedule first rises from 0 to the full rate in
 * {@code warmup} steps; then the rate falls to 0 at step {@code total}, or stays. The values are those of transformers'
 * {@code get_linear_schedule_with_warmup}, {@code get_cosine_schedule_with_warmup} and
 * {@code get_constant_schedule_with_warmup}.
 */
public enum Schedule {
    /** Falls along a straight line. */
    LINEAR {
        @Override
        double afterWarmup(double rest, double done) {
            return rest;
        }
    },
    /** Falls along half a cosine: slowly at first and at the end. */
    COSINE {
        @Override
        double afterWarmup(double rest, double done) {
            return 0.5 * (1 + Math.cos(Math.PI * done));
        }
    },
    /** Stays. */
    CONSTANT {
        @Override
        double afterWarmup(double rest, double done) {
            return 1;
        }
    };

    /**
     * What the learning rate is multiplied with.
     *
     * @param step optimiser steps already done, so 0 at the first
     * @param warmup steps of the rise
     * @param total optimiser steps of the whole run
     */
    public double factor(long step, long warmup, long total) {
        if (step < warmup) {
            return (double) step / Math.max(1, warmup);
        }
        double length = Math.max(1, total - warmup);
        return Math.max(0, afterWarmup((total - step) / length, (step - warmup) / length));
    }

    /** @param rest share of the steps after the warm-up that is left
     * @param done share that is done */
    abstract double afterWarmup(double rest, double done);
}
