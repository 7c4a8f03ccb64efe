/** How BitFit claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.bitfit;

import org.jspecify.annotations.NullMarked;
