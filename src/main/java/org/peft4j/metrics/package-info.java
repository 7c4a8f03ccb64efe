/** How good answers are, counted from labels alone; no tensors. */
@NullMarked
package org.peft4j.metrics;

import org.jspecify.annotations.NullMarked;
