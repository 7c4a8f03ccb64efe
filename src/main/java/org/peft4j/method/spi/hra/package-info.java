/** How HRA claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.hra;

import org.jspecify.annotations.NullMarked;
