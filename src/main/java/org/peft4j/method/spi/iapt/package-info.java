/** How IAPT claims points of a model, its generators, and its files. */
@NullMarked
package org.peft4j.method.spi.iapt;

import org.jspecify.annotations.NullMarked;
