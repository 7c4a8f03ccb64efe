/** How osf claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.osf;

import org.jspecify.annotations.NullMarked;
