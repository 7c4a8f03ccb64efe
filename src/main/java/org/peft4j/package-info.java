/**
 * Train adapters of transformers and use them. {@link org.peft4j.Trainer} trains as a {@link org.peft4j.config.RunConfig}
 * says. {@link org.peft4j.BaseModel} holds a frozen model in memory, over which {@link org.peft4j.LoadedAdapter}s are used: as
 * {@link org.peft4j.TextClassifier}, {@link org.peft4j.TokenTagger}, {@link org.peft4j.TextEmbedder} or {@link
 * org.peft4j.TextGenerator}, each of which can also open a model of its own. {@link org.peft4j.Merge} makes an adapter a part of
 * the model's weights, {@link org.peft4j.RowPreview} shows rows as they will be trained, {@link org.peft4j.Chat} holds a talk.
 *
 * <p>What is open is safe from many threads and has to be closed; {@code close} waits for calls that run, later ones are refused
 * with an {@link IllegalStateException}. Settings are immutable records; their builders are for one thread.
 *
 * <p>What the library does to the process it runs in: it loads native libraries (libtorch and ours) and unpacks them into a
 * directory of the user ({@code peft4j info} shows it), maps model files into memory, and while it paints a report it sets
 * {@code java.awt.headless} where it is not set. It prints nothing, installs no handlers and never ends the process.
 */
@NullMarked
package org.peft4j;

import org.jspecify.annotations.NullMarked;
