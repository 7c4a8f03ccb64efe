package org.peft4j.nn.seam;

/**
 * The two parameters of a low-rank update of a linear layer, {@code y += scale (x Aᵀ) Bᵀ}.
 *
 * @param a [r, in]
 * @param b [out, r]
 */
public record LowRankPair(Parameter a, Parameter b, double scale) {}
