/** How C³A claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.c3a;

import org.jspecify.annotations.NullMarked;
