/** Settings of LiST's linear adapters. */
@NullMarked
package org.peft4j.method.list;

import org.jspecify.annotations.NullMarked;
