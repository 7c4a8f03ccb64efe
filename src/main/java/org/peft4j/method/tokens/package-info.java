/** Trainable tokens: some rows of an embedding table. */
@NullMarked
package org.peft4j.method.tokens;

import org.jspecify.annotations.NullMarked;
