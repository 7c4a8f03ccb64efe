/** Context-aware prompt tuning: embedded examples that may move a little. */
@NullMarked
package org.peft4j.method.spi.cpt;

import org.jspecify.annotations.NullMarked;
