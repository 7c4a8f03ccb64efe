/** Settings of RandLoRA. */
@NullMarked
package org.peft4j.method.randlora;

import org.jspecify.annotations.NullMarked;
