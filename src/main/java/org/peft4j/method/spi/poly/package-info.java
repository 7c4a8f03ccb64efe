/** How Poly claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.poly;

import org.jspecify.annotations.NullMarked;
