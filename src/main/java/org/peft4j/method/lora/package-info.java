/** LoRA and its variants of scale and initialisation. */
@NullMarked
package org.peft4j.method.lora;

import org.jspecify.annotations.NullMarked;
