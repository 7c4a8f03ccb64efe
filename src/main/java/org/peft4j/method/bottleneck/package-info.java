/** Bottleneck adapters: a small network behind each block's MLP. */
@NullMarked
package org.peft4j.method.bottleneck;

import org.jspecify.annotations.NullMarked;
