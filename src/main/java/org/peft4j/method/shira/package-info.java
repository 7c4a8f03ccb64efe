/** Settings of SHiRA. */
@NullMarked
package org.peft4j.method.shira;

import org.jspecify.annotations.NullMarked;
