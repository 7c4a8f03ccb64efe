/** How BOFT claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.boft;

import org.jspecify.annotations.NullMarked;
