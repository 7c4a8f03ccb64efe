/** Optimisers. */
@NullMarked
package org.peft4j.optim;

import org.jspecify.annotations.NullMarked;
