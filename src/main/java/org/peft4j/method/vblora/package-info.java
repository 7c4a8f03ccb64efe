/** Settings of VB-LoRA. */
@NullMarked
package org.peft4j.method.vblora;

import org.jspecify.annotations.NullMarked;
