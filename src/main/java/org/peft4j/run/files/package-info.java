/** The files of a run and what stands beside an adapter, as they are written and read. */
@NullMarked
package org.peft4j.run.files;

import org.jspecify.annotations.NullMarked;
