/** Settings of RoAd. */
@NullMarked
package org.peft4j.method.road;

import org.jspecify.annotations.NullMarked;
