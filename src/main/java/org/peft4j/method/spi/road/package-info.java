/** How RoAd claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.road;

import org.jspecify.annotations.NullMarked;
