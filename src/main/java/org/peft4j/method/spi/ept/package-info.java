/** EPT: a prompt that is fused with a low-rank pair and projected into several spaces. */
@NullMarked
package org.peft4j.method.spi.ept;

import org.jspecify.annotations.NullMarked;
