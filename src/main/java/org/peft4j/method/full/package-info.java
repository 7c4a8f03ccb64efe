/** Training of the model itself, or of parts of it. */
@NullMarked
package org.peft4j.method.full;

import org.jspecify.annotations.NullMarked;
