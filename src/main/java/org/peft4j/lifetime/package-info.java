/** How long something lives that calls on many threads use and one thread closes. */
@NullMarked
package org.peft4j.lifetime;

import org.jspecify.annotations.NullMarked;
