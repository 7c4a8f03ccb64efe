/** What goes wrong, told to the caller: one supertype, one class for each kind. */
@NullMarked
package org.peft4j.error;

import org.jspecify.annotations.NullMarked;
