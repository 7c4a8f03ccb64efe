/** IAPT: soft tokens for each layer, made of the instruction. */
@NullMarked
package org.peft4j.method.iapt;

import org.jspecify.annotations.NullMarked;
