package org.peft4j.method.adalora;

import org.jspecify.annotations.Nullable;

/**
 * When AdaLoRA takes ranks away. Steps are those of the optimiser, counted from 1, so that the last one is {@code totalStep}.
 *
 * @param targetR mean rank of a layer that is left at the end; below initR
 * @param initR rank of each layer at the start
 * @param tinit steps at the start in which nothing is taken
 * @param tfinal steps at the end in which the ranks that are left stay as they are
 * @param deltaT steps from one choice to the next
 * @param totalStep steps of the run; null: those that the run has
 */
public record RankBudget(
        int targetR,
        int initR,
        int tinit,
        int tfinal,
        int deltaT,
        @Nullable Integer totalStep) {
    public RankBudget {
        if (initR < 2) {
            throw new IllegalArgumentException(
                    "initR must be at least 2, one rank to keep and one to take, got " + initR);
        }
        if (targetR < 1 || targetR >= initR) {
            throw new IllegalArgumentException("targetR must be at least 1 and below init_r " + initR + ", got "
                    + targetR + (targetR >= initR ? "; lora has a rank that stays" : ""));
        }
        if (tinit < 0) {
            throw new IllegalArgumentException("tinit must not be negative, got " + tinit);
        }
        if (tfinal < 0) {
            throw new IllegalArgumentException("tfinal must not be negative, got " + tfinal);
        }
        if (deltaT < 1) {
            throw new IllegalArgumentException("deltaT must be at least 1, got " + deltaT);
        }
        if (totalStep != null && tinit >= (long) totalStep - tfinal) {
            throw new IllegalArgumentException("totalStep must be more than tinit and tfinal together, "
                    + ((long) tinit + tfinal) + ", as ranks are taken between them; got " + totalStep);
        }
    }

    /** PEFT's defaults: from rank 12 to 8, a choice in each step of the run. */
    public static RankBudget defaults() {
        return new RankBudget(8, 12, 0, 0, 1, null);
    }

    /** The same ranks at other times. */
    public RankBudget withTimes(int warmup, int last, int interval, @Nullable Integer total) {
        return new RankBudget(targetR, initR, warmup, last, interval, total);
    }

    /** The same times for other ranks. */
    public RankBudget withRanks(int target, int init) {
        return new RankBudget(target, init, tinit, tfinal, deltaT, totalStep);
    }
}
