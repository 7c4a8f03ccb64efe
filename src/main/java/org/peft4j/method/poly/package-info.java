/** Settings of Poly. */
@NullMarked
package org.peft4j.method.poly;

import org.jspecify.annotations.NullMarked;
