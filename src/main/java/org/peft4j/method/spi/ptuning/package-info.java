/** How P-tuning claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.ptuning;

import org.jspecify.annotations.NullMarked;
