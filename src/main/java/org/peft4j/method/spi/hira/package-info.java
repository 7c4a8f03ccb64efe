/** How HiRA claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.hira;

import org.jspecify.annotations.NullMarked;
