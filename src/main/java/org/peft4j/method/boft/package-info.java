/** Settings of BOFT. */
@NullMarked
package org.peft4j.method.boft;

import org.jspecify.annotations.NullMarked;
