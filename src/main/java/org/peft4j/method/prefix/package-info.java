/** Prefix tuning: trained keys and values in front of each layer's own. */
@NullMarked
package org.peft4j.method.prefix;

import org.jspecify.annotations.NullMarked;
