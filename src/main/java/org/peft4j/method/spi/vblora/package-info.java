/** How VB-LoRA claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.vblora;

import org.jspecify.annotations.NullMarked;
