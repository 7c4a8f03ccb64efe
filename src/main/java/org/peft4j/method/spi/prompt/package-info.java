/** How prompt tuning claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.prompt;

import org.jspecify.annotations.NullMarked;
