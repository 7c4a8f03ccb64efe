/** How FourierFT claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.fourierft;

import org.jspecify.annotations.NullMarked;
