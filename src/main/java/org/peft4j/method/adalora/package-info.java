/** Settings of AdaLoRA. */
@NullMarked
package org.peft4j.method.adalora;

import org.jspecify.annotations.NullMarked;
