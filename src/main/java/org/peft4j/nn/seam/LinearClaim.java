package org.peft4j.nn.seam;

/**
 * What may happen at a {@link LinearPoint}:
 *
 * <pre>
 * u = f(x)                                       {@link InputUpdate}s, one behind the other
 * y = m ∘ (W u + Σ scale B A dropout(u) + Σ ΔW dropout(u))
 *                                                {@link LowRank}s (of one task or of all), {@link WeightDelta}s add up,
 *                                                {@link Magnitude} multiplies
 * y = g(y + Σ w B A dropout(u) + b + Σ Δb)       {@link LowRankMixture}s and {@link BiasDelta}s add up, {@link OutputUpdate}s one behind
 *                                                the other
 * </pre>
 */
public sealed interface LinearClaim
        permits LowRank, TaskLowRank, LowRankMixture, WeightDelta, BiasDelta, Magnitude, InputUpdate, OutputUpdate {
    /** Whether claims of this kind add up, whoever makes them. */
    default boolean adds() {
        return this instanceof LowRank
                || this instanceof TaskLowRank
                || this instanceof LowRankMixture
                || this instanceof WeightDelta
                || this instanceof BiasDelta;
    }
}
