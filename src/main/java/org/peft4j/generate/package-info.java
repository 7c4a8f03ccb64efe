/**
 * What a language model says next: generation with a cache of keys and values, and the probability of given texts. Works on
 * numbers of tokens; texts are the caller's.
 *
 * <table>
 * <caption>Who does what</caption>
 * <tr><td>{@link org.peft4j.generate.Engine}</td><td>lets requests in, computes a step of all of them, frees what they had</td></tr>
 * <tr><td>{@code Group}: {@code Draws}, {@code Beams}</td><td>the sequences of a request: what their next tokens are</td></tr>
 * <tr><td>{@code Penalties}, {@code Sampler}, {@code Ranking}</td><td>from logits to a token, in transformers' order
 * ({@link org.peft4j.generate.Sampling})</td></tr>
 * <tr><td>{@code Cache}: {@code Blocks}, {@code Pools}</td><td>which blocks are whose, and the memory behind them</td></tr>
 * <tr><td>{@link org.peft4j.generate.Generator}</td><td>a closed list of prompts through an engine; scores of given texts</td></tr>
 * </table>
 */
@NullMarked
package org.peft4j.generate;

import org.jspecify.annotations.NullMarked;
