/** Settings of VeRA. */
@NullMarked
package org.peft4j.method.vera;

import org.jspecify.annotations.NullMarked;
