/**
 * Train adapters of transformers and use them. {@link org.peft4j.Trainer} trains as a {@link org.peft4j.config.RunConfig}
 * says; {@link org.peft4j.TextClassifier} uses what was trained.
 *
 * <p>What the library does to the process it runs in: it loads native libraries (libtorch and ours) and unpacks them into a
 * directory of the user ({@code peft4j info} shows it), maps model files into memory, and while it paints a report it sets
 * {@code java.awt.headless} where it is not set. It prints nothing, installs no handlers and never ends the process.
 */
@NullMarked
package org.peft4j;

import org.jspecify.annotations.NullMarked;
