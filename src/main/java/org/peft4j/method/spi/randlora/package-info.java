/** How RandLoRA claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.randlora;

import org.jspecify.annotations.NullMarked;
