/** How trainable tokens claim points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.tokens;

import org.jspecify.annotations.NullMarked;
