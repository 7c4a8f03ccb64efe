/** Multitask prompt tuning. */
@NullMarked
package org.peft4j.method.spi.multitask;

import org.jspecify.annotations.NullMarked;
