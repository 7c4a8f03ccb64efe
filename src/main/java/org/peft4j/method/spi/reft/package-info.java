/** How representation fine-tuning claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.reft;

import org.jspecify.annotations.NullMarked;
