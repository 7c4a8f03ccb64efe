@NullMarked
package org.peft4j.io.fetch;

import org.jspecify.annotations.NullMarked;
