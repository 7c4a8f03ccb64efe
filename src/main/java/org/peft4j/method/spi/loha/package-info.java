/** How LoHa claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.loha;

import org.jspecify.annotations.NullMarked;
