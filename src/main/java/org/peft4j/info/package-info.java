/** Facts of this machine and of the methods. */
@NullMarked
package org.peft4j.info;

import org.jspecify.annotations.NullMarked;
