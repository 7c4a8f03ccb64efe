/**
 * Modules, parameters, and the seam between backbones and methods.
 *
 * <p><b>The seam.</b> A backbone offers {@link org.peft4j.nn.seam.Points}; a method claims some of them and gives back an
 * {@link org.peft4j.nn.seam.Adapter}: its trained parameters, and for each claimed point what happens there. Neither names the
 * other. Nothing in a module changes when an adapter is attached, switched off or taken away: which adapters apply, and
 * to which sequences of the batch, is said call by call in the {@link org.peft4j.nn.seam.ForwardContext}. So one frozen
 * backbone serves many threads and many adapters, also within one batch.
 *
 * <p>The points, and what each method of the field claims of them. <i>Linear</i>, <i>keys and values</i> and
 * <i>tensor</i> are implemented; the others have their place here and come with the first method that needs them.
 *
 * <table>
 * <caption>methods and points</caption>
 * <tr><th>method</th><th>points</th><th>what the claim gives</th></tr>
 * <tr><td>LoRA, rsLoRA, LoRA+, PiSSA, OLoRA, LoftQ</td><td>linear</td><td>{@link org.peft4j.nn.seam.LowRank}; another base weight is a tensor claim</td></tr>
 * <tr><td>AdaLoRA</td><td>linear</td><td>LowRank with A scaled by E in each forward; hooks after backward and step</td></tr>
 * <tr><td>VeRA</td><td>linear</td><td>LowRank made from shared A, B and the trained vectors</td></tr>
 * <tr><td>DoRA</td><td>linear</td><td>LowRank with a scale of the outputs (to come); asks the Weight for its plain values</td></tr>
 * <tr><td>(IA)³</td><td>linear</td><td>a scale of inputs or outputs (to come)</td></tr>
 * <tr><td>BitFit, LN tuning, modules_to_save, half fine-tuning, embedding-only tuning</td><td>tensor</td><td>{@link org.peft4j.nn.seam.Parameter} in the tensor's place</td></tr>
 * <tr><td>trainable token rows</td><td>embedding rows (to come)</td><td>replacement rows</td></tr>
 * <tr><td>prefix tuning, P-tuning v2</td><td>keys and values of each block</td><td>{@link org.peft4j.nn.seam.PrefixKeyValues}: ready keys and values</td></tr>
 * <tr><td>LLaMA-Adapter</td><td>keys and values of the top blocks</td><td>hidden rows that the block projects, and a gate (the operation has it)</td></tr>
 * <tr><td>IAPT</td><td>block input, keys and values</td><td>rows made from the block's input, projected by the block with its own norm and rotary</td></tr>
 * <tr><td>prompt tuning, P-tuning, EPT</td><td>insertion before the sequence (to come)</td><td>embedding rows; the point moves cu_seqlens, positions, labels and the pooled row</td></tr>
 * <tr><td>DePT</td><td>insertion before the sequence, embedding output (to come)</td><td>rows, and a sum by position</td></tr>
 * <tr><td>VPT</td><td>insertion into the sequence of each block (to come)</td><td>rows, dropped behind the block</td></tr>
 * <tr><td>bottleneck, parallel and AST adapters, Compacter, MAD-X, LiST</td><td>sublayer: input, output, residual, norm (to come)</td><td>the sublayer's new output</td></tr>
 * <tr><td>invertible adapters</td><td>embedding output, final hidden state (to come)</td><td>a function and its inverse</td></tr>
 * <tr><td>rational activations</td><td>sublayer of the MLP (to come)</td><td>the activation</td></tr>
 * </table>
 */
@NullMarked
package org.peft4j.nn;

import org.jspecify.annotations.NullMarked;
