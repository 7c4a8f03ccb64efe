package org.peft4j.method.hft;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.ModelParts;

/**
 * Settings of half fine-tuning: full tuning of a half of the model, which is drawn anew for each round; the other half keeps the values
 * that it has at the round's beginning. Drawn are whole modules, of each kind half: of the attention's in each block, of the MLP's in
 * each block (of three two in one half of the blocks, one in the other), and of all norms. Tables, heads and poolers are trained in every
 * round. The optimiser begins anew with each round, and has moments of what is trained alone.
 *
 * @param chosen of what halves are drawn
 * @param roundSteps optimiser steps of a round; null: a run is one round, as in the paper, whose rounds are tasks
 * @param round number of the first round, from 0; files have that of the next one, so that a run that goes on draws another half
 * @param seed of the draws
 * @param modulesToSave modules that are trained in every round and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2404.18466">HFT: Half Fine-Tuning for Large Language Models</a>
 */
public record HftConfig(
        ModelParts chosen, @Nullable Integer roundSteps, int round, long seed, List<String> modulesToSave)
        implements MethodConfig {
    public HftConfig {
        if (roundSteps != null && roundSteps < 1) {
            throw new IllegalArgumentException(
                    "roundSteps must be at least 1, or left out where the run is one round, got " + roundSteps);
        }
        if (round < 0) {
            throw new IllegalArgumentException("round must be at least 0, got " + round);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** Of all of the model, in one round. */
    public static HftConfig defaults() {
        return new HftConfig(ModelParts.ALL, null, 0, 0, List.of());
    }

    /** The same with rounds of so many steps; null: the run is one. */
    public HftConfig withRoundSteps(@Nullable Integer steps) {
        return new HftConfig(chosen, steps, round, seed, modulesToSave);
    }

    /** The same from another round on. */
    public HftConfig withRound(int value) {
        return new HftConfig(chosen, roundSteps, value, seed, modulesToSave);
    }

    /** The same with other draws. */
    public HftConfig withSeed(long value) {
        return new HftConfig(chosen, roundSteps, round, value, modulesToSave);
    }

    /** The same, of other parts. */
    public HftConfig withChosen(ModelParts value) {
        return new HftConfig(value, roundSteps, round, seed, modulesToSave);
    }

    @Override
    public HftConfig withModulesToSave(List<String> modules) {
        return new HftConfig(chosen, roundSteps, round, seed, modules);
    }
}
