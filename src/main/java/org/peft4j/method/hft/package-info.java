/** HFT: half of the model is trained, another half in each round. */
@NullMarked
package org.peft4j.method.hft;

import org.jspecify.annotations.NullMarked;
