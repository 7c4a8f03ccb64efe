/** DePT: a short prompt, and a low-rank pair that is added to embedded words by their place. */
@NullMarked
package org.peft4j.method.spi.dept;

import org.jspecify.annotations.NullMarked;
