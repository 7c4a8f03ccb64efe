/** Random numbers that are the same with every Java version and on every machine. Known to all layers, knows none. */
@NullMarked
package org.peft4j.random;

import org.jspecify.annotations.NullMarked;
