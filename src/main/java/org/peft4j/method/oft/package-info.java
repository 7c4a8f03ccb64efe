/** Settings of OFT. */
@NullMarked
package org.peft4j.method.oft;

import org.jspecify.annotations.NullMarked;
