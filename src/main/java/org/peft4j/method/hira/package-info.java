/** Settings of HiRA. */
@NullMarked
package org.peft4j.method.hira;

import org.jspecify.annotations.NullMarked;
