/** How LoKr claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.lokr;

import org.jspecify.annotations.NullMarked;
