/** How bottleneck adapters claim points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.bottleneck;

import org.jspecify.annotations.NullMarked;
