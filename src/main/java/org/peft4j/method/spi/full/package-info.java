/** How full claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.full;

import org.jspecify.annotations.NullMarked;
