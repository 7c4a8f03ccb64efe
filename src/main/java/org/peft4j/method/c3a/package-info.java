/** Settings of C³A. */
@NullMarked
package org.peft4j.method.c3a;

import org.jspecify.annotations.NullMarked;
