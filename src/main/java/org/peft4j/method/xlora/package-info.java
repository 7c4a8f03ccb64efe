/** X-LoRA: frozen LoRA adapters, mixed anew for each token. */
@NullMarked
package org.peft4j.method.xlora;

import org.jspecify.annotations.NullMarked;
