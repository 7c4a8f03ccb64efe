package org.peft4j.nn.seam;

/** What may happen at a {@link LinearPoint}: {@code y = o ∘ (W (s ∘ x) + b + Σ scale B A dropout(x))}. */
public sealed interface LinearClaim permits LowRank, InputScale, OutputScale {}
