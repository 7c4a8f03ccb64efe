/** What all adapter methods share: their configs' common type and the choice of the modules to adapt. */
@NullMarked
package org.peft4j.method;

import org.jspecify.annotations.NullMarked;
