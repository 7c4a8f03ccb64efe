package org.peft4j.config;

import org.jspecify.annotations.Nullable;

/**
 * What one parameter group does differently; null keeps the run's value.
 *
 * @param learningRate the group's highest learning rate
 * @param weightDecay the group's weight decay
 */
public record GroupOverride(
        @Nullable Double learningRate, @Nullable Double weightDecay) {
    public GroupOverride {
        if (learningRate != null) {
            Checks.atLeastZero(learningRate, "learningRate");
        }
        if (weightDecay != null) {
            Checks.atLeastZero(weightDecay, "weightDecay");
        }
    }
}
