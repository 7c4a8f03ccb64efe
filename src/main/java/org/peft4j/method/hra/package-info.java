/** Settings of HRA. */
@NullMarked
package org.peft4j.method.hra;

import org.jspecify.annotations.NullMarked;
