/** Settings of FourierFT. */
@NullMarked
package org.peft4j.method.fourierft;

import org.jspecify.annotations.NullMarked;
