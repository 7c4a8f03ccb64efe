/** Settings of GraLoRA. */
@NullMarked
package org.peft4j.method.gralora;

import org.jspecify.annotations.NullMarked;
