/** Rows of text files, labels, tokens and batches. */
@NullMarked
package org.peft4j.data;

import org.jspecify.annotations.NullMarked;
