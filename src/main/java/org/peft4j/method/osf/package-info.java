/** OSF: the small singular values of a weight are trained. */
@NullMarked
package org.peft4j.method.osf;

import org.jspecify.annotations.NullMarked;
