/** How LiST's linear adapters claim points of a model, and their files. */
@NullMarked
package org.peft4j.method.spi.list;

import org.jspecify.annotations.NullMarked;
