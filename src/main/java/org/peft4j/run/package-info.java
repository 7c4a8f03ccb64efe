/** What a run says of itself, and the run file. */
@NullMarked
package org.peft4j.run;

import org.jspecify.annotations.NullMarked;
