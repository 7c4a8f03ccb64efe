/** How hft claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.hft;

import org.jspecify.annotations.NullMarked;
