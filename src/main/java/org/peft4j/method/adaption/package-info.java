/** LLaMA-Adapter: trained rows that attention reads through a gate. */
@NullMarked
package org.peft4j.method.adaption;

import org.jspecify.annotations.NullMarked;
