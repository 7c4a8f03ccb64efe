/** Settings of EPT. */
@NullMarked
package org.peft4j.method.ept;

import org.jspecify.annotations.NullMarked;
