/**
 * Modules, parameters, and the seam between backbones and methods.
 *
 * <p><b>The seam.</b> A backbone offers {@link org.peft4j.nn.seam.Points}; a method claims some of them and gives back an
 * {@link org.peft4j.nn.seam.Adapter}: its trained parameters, and for each claimed point what happens there. Neither names the
 * other. Nothing in a module changes when an adapter is attached, switched off or taken away: which adapters apply, and
 * to which sequences of the batch, is said call by call in the {@link org.peft4j.nn.seam.ForwardContext}. So one frozen
 * backbone serves many threads and many adapters, also within one batch. An adapter may have several tasks, of which each row is of
 * one: the context says which ({@link org.peft4j.nn.seam.ForwardContext#withTasks}). A module asks
 * {@link org.peft4j.nn.seam.ForwardContext#at} what is claimed at its point; several claims come in the adapters' order, and
 * those that cannot hold together were refused when the context was made.
 *
 * <table>
 * <caption>points, what may be claimed there, and who claims it</caption>
 * <tr><th>point</th><th>claims</th><th>methods</th></tr>
 * <tr><td>{@link org.peft4j.nn.seam.LinearPoint linear}: y = W x + b</td>
 *     <td>{@link org.peft4j.nn.seam.LinearClaim} has the formula: {@link org.peft4j.nn.seam.LowRank},
 *     {@link org.peft4j.nn.seam.TaskLowRank} (of each row's task its own), {@link org.peft4j.nn.seam.WeightDelta}, {@link org.peft4j.nn.seam.BiasDelta} add up, and so does
 *     {@link org.peft4j.nn.seam.LowRankMixture}, whose weights for each row a {@link org.peft4j.nn.seam.Routing} finds in a first
 *     pass before the call, or the adapter makes of what the layer reads;
 *     {@link org.peft4j.nn.seam.InputUpdate} (and {@link org.peft4j.nn.seam.InputScale}), {@link org.peft4j.nn.seam.Magnitude},
 *     {@link org.peft4j.nn.seam.OutputUpdate} (and {@link org.peft4j.nn.seam.OutputScale}) multiply</td>
 *     <td>LoRA and its kin; X-LoRA, UniPELT; Poly; (IA)³; orthogonal methods, LiST</td></tr>
 * <tr><td>{@link org.peft4j.nn.seam.ExpertsPoint experts}: y = W_e x of each expert of a mixture</td>
 *     <td>{@link org.peft4j.nn.seam.ExpertsUpdate}s add up</td><td>LoRA on parameters</td></tr>
 * <tr><td>{@link org.peft4j.nn.seam.KeyValuePoint keys and values} of a block's attention</td>
 *     <td>one for each sequence: {@link org.peft4j.nn.seam.PrefixKeyValues}, ready ones;
 *     {@link org.peft4j.nn.seam.SequenceKeyValues}, of each sequence its own, by what attention reads of it;
 *     {@link org.peft4j.nn.seam.HiddenPrefix}, of which the block makes them, of each sequence its own;
 *     {@link org.peft4j.nn.seam.GatedPrompt}, with a softmax of their own and a gate</td>
 *     <td>prefix tuning, P-tuning v2; UniPELT; IAPT; LLaMA-Adapter</td></tr>
 * <tr><td>{@link org.peft4j.nn.seam.SublayerPoint sublayer}: attention or MLP of a block</td>
 *     <td>{@link org.peft4j.nn.seam.SublayerUpdate}: a function of input, output, residual and norm, in place of the output or of
 *     what stands behind the norm; {@link org.peft4j.nn.seam.SublayerAddition}, which adds to a residual, and
 *     {@link org.peft4j.nn.seam.SublayerFusion}, which mixes several of those</td>
 *     <td>bottleneck adapters; AdapterFusion</td></tr>
 * <tr><td>{@link org.peft4j.nn.seam.BlockPoint block}: what a block as a whole gives</td>
 *     <td>{@link org.peft4j.nn.seam.BlockUpdate}s, one behind the other: rows in place of it</td><td>ReFT</td></tr>
 * <tr><td>{@link org.peft4j.nn.seam.EmbeddingPoint embedding}: rows of a table by index</td>
 *     <td>{@link org.peft4j.nn.seam.TokenRows} in place of some of the table's;
 *     {@link org.peft4j.nn.seam.EmbeddingUpdate}, which add up</td><td>trainable tokens; LoRA of tables</td></tr>
 * <tr><td>{@link org.peft4j.nn.seam.SequencePoint sequence}: the embedded words of each text</td>
 *     <td>{@link org.peft4j.nn.seam.InsertedRows} in front; {@link org.peft4j.nn.seam.PositionUpdate}s by place in the text,
 *     which add up; {@link org.peft4j.nn.seam.EmbeddedUpdate}, one for each sequence, behind all of that, whose inverse a language head
 *     applies</td><td>prompt tuning, multitask prompt tuning, P-tuning, CPT; DePT, EPT; invertible adapters</td></tr>
 * <tr><td>{@link org.peft4j.nn.seam.TensorPoint tensor}: weight, bias, table as a whole</td>
 *     <td>a {@link org.peft4j.nn.seam.Parameter} in its place</td><td>BitFit, full and half fine-tuning, modules_to_save, biases of LoRA</td></tr>
 * </table>
 *
 * <p>What a method asks of each training step beside that (a penalty, work before or behind the optimiser, state that has to be kept)
 * is a {@link org.peft4j.nn.seam.StepHook} of its adapter: AdaLoRA's budget of ranks, OSF's projections, HFT's rounds.
 *
 * <p>Several adapters that act on the same rows as a tree of blocks are one adapter too, whose claims are made of theirs:
 * {@link org.peft4j.nn.compose.Composed}.
 */
@NullMarked
package org.peft4j.nn;

import org.jspecify.annotations.NullMarked;
