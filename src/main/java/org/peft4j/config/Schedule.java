package org.peft4j.config;

import java.util.List;
import java.util.Objects;

/**
 * The shapes in which a learning rate changes: first it rises along a straight line in the warm-up, then each has its own way.
 * In the names of transformers 5.18, {@code warmup} and {@code total} are {@code num_warmup_steps} and
 * {@code num_training_steps}, and {@code min_rate} is the share of the optimizer's rate that is left at the end.
 */
public enum Schedule {
    /** Stays: {@code get_constant_schedule_with_warmup(warmup)}. */
    CONSTANT {
        @Override
        double afterWarmup(ScheduleConfig settings, long step, long warmup, long total) {
            return 1;
        }
    },
    /**
     * Falls along a straight line: {@code get_linear_schedule_with_warmup(warmup, total)}; with {@code min_rate} as
     * {@link #POLYNOMIAL} with {@code power} 1.
     */
    LINEAR("minRate") {
        @Override
        double afterWarmup(ScheduleConfig settings, long step, long warmup, long total) {
            return between(settings.minRate(), Math.max(0, (double) (total - step) / length(warmup, total)));
        }
    },
    /**
     * Falls along half a cosine, slowly at first and at the end: {@code get_cosine_schedule_with_warmup(warmup, total)}; with
     * {@code min_rate} {@code get_cosine_with_min_lr_schedule_with_warmup(warmup, total, min_lr_rate=min_rate)}.
     */
    COSINE("minRate") {
        @Override
        double afterWarmup(ScheduleConfig settings, long step, long warmup, long total) {
            return Math.max(0, between(settings.minRate(), cosine((double) (step - warmup) / length(warmup, total))));
        }
    },
    /**
     * Falls as a power of the share of steps that is left: {@code get_polynomial_decay_schedule_with_warmup(warmup, total,
     * lr_end=min_rate * rate, power=power)}.
     */
    POLYNOMIAL("minRate", "power") {
        @Override
        double afterWarmup(ScheduleConfig settings, long step, long warmup, long total) {
            double left = Math.max(0, (double) (total - step) / length(warmup, total));
            double power = Objects.requireNonNull(settings.power(), "power");
            return between(settings.minRate(), Math.pow(left, power));
        }
    },
    /**
     * Falls as one over the root of the steps, however many there will be: {@code get_inverse_sqrt_schedule(warmup,
     * timescale=timescale)}, whose timescale is the warm-up's length where none is given, and 10,000 where there is none.
     */
    INVERSE_SQRT("timescale") {
        @Override
        double afterWarmup(ScheduleConfig settings, long step, long warmup, long total) {
            Long given = settings.timescale();
            long timescale = given != null ? given : warmup > 0 ? warmup : 10_000;
            return 1 / Math.sqrt((double) (step - warmup + timescale) / timescale);
        }
    },
    /**
     * Stays, and falls in the last {@code decay_steps}: {@code get_wsd_schedule(warmup, decay_steps,
     * num_training_steps=total, decay_type=decay, min_lr_ratio=min_rate)}. Its warm-up begins at {@code min_rate}.
     */
    WARMUP_STABLE_DECAY("minRate", "decaySteps", "decay") {
        @Override
        double warming(ScheduleConfig settings, double done) {
            return between(settings.minRate(), done);
        }

        @Override
        double afterWarmup(ScheduleConfig settings, long step, long warmup, long total) {
            long decaySteps = Objects.requireNonNull(settings.decaySteps(), "decaySteps");
            ScheduleConfig.Decay decay = Objects.requireNonNull(settings.decay(), "decay");
            long begin = total - decaySteps;
            if (step < begin) {
                return 1;
            }
            if (step >= total) {
                return settings.minRate();
            }
            return Math.max(0, between(settings.minRate(), decay.left((double) (step - begin) / decaySteps)));
        }
    };

    private final List<String> settings;

    /** @param settings those of {@link ScheduleConfig} that mean something here, beside the warm-up's */
    Schedule(String... settings) {
        this.settings = List.of(settings);
    }

    boolean has(String setting) {
        return settings.contains(setting);
    }

    /** @param done share of the warm-up's steps that is done, below 1 */
    double warming(ScheduleConfig settings, double done) {
        return done;
    }

    abstract double afterWarmup(ScheduleConfig settings, long step, long warmup, long total);

    /** From {@code end} at 0 to 1 at 1. */
    private static double between(double end, double share) {
        return share * (1 - end) + end;
    }

    /** From 1 at 0 to 0 at 1, along half a wave. */
    static double cosine(double done) {
        return 0.5 * (1 + Math.cos(Math.PI * done));
    }

    private static double length(long warmup, long total) {
        return Math.max(1, total - warmup);
    }
}
