/** Llama (Touvron et al. 2023), as transformers' {@code LlamaModel} and the classes with a head behind it. */
@NullMarked
package org.peft4j.model.llama;

import org.jspecify.annotations.NullMarked;
