@NullMarked
package org.peft4j.io;

import org.jspecify.annotations.NullMarked;
