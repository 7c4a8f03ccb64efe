/** How LN tuning claims norms, and its files. */
@NullMarked
package org.peft4j.method.spi.lntuning;

import org.jspecify.annotations.NullMarked;
