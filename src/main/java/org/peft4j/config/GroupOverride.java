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
        if (learningRate != null && !(learningRate >= 0 && learningRate < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("learningRate must be at least 0, got " + learningRate);
        }
        if (weightDecay != null && !(weightDecay >= 0 && weightDecay < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("weightDecay must be at least 0, got " + weightDecay);
        }
    }
}
