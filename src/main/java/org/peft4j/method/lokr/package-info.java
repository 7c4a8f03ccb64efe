/** Settings of LoKr. */
@NullMarked
package org.peft4j.method.lokr;

import org.jspecify.annotations.NullMarked;
