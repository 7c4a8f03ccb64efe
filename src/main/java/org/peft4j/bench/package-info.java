/** Measurements on this machine. */
@NullMarked
package org.peft4j.bench;

import org.jspecify.annotations.NullMarked;
