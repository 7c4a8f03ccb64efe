/** Settings of context-aware prompt tuning. */
@NullMarked
package org.peft4j.method.cpt;

import org.jspecify.annotations.NullMarked;
