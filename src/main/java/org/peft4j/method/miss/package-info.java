/** Settings of MiSS. */
@NullMarked
package org.peft4j.method.miss;

import org.jspecify.annotations.NullMarked;
