/** How GraLoRA claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.gralora;

import org.jspecify.annotations.NullMarked;
