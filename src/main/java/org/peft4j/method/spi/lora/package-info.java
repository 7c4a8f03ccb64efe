/** How LoRA claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.lora;

import org.jspecify.annotations.NullMarked;
