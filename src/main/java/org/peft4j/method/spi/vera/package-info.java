/** How VeRA claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.vera;

import org.jspecify.annotations.NullMarked;
