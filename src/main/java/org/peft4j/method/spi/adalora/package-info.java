/** How AdaLoRA claims linear layers, shares a budget of ranks among them while it trains, and its files. */
@NullMarked
package org.peft4j.method.spi.adalora;

import org.jspecify.annotations.NullMarked;
