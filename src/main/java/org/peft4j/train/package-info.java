/** Runs: their settings, their files, what they report. */
@NullMarked
package org.peft4j.train;

import org.jspecify.annotations.NullMarked;
