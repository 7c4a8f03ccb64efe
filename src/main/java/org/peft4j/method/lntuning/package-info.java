/** Settings of LN tuning. */
@NullMarked
package org.peft4j.method.lntuning;

import org.jspecify.annotations.NullMarked;
