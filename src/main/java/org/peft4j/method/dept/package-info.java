/** Settings of DePT. */
@NullMarked
package org.peft4j.method.dept;

import org.jspecify.annotations.NullMarked;
