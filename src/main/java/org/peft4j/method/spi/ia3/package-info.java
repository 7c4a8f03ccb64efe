/** How (IA)³ claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.ia3;

import org.jspecify.annotations.NullMarked;
