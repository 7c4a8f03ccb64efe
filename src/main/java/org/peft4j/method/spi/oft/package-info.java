/** How OFT claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.oft;

import org.jspecify.annotations.NullMarked;
