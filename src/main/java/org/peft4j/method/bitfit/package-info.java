/** BitFit: trained biases. */
@NullMarked
package org.peft4j.method.bitfit;

import org.jspecify.annotations.NullMarked;
