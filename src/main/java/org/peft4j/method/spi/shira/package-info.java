/** How SHiRA claims linear layers, and its files. */
@NullMarked
package org.peft4j.method.spi.shira;

import org.jspecify.annotations.NullMarked;
