/** Settings of LoHa. */
@NullMarked
package org.peft4j.method.loha;

import org.jspecify.annotations.NullMarked;
