/** P-tuning: rows in front of each text that a small network makes. */
@NullMarked
package org.peft4j.method.ptuning;

import org.jspecify.annotations.NullMarked;
