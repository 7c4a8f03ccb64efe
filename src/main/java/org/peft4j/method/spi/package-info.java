/** What adapter methods share: what a method is, the list of them, how they read and write their files. */
@NullMarked
package org.peft4j.method.spi;

import org.jspecify.annotations.NullMarked;
