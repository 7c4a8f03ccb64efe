/** How X-LoRA claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.xlora;

import org.jspecify.annotations.NullMarked;
