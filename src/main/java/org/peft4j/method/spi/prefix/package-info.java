/** How prefix tuning claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.prefix;

import org.jspecify.annotations.NullMarked;
