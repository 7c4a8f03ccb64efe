/** How MiSS claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.miss;

import org.jspecify.annotations.NullMarked;
