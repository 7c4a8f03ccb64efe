/** Settings of multitask prompt tuning. */
@NullMarked
package org.peft4j.method.multitask;

import org.jspecify.annotations.NullMarked;
