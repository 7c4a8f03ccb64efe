/** How LLaMA-Adapter claims points of a model, and its files. */
@NullMarked
package org.peft4j.method.spi.adaption;

import org.jspecify.annotations.NullMarked;
