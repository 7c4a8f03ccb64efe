/** This process and the machine it runs on: its home directory, its C library, where native libraries are unpacked. */
@NullMarked
package org.peft4j.host;

import org.jspecify.annotations.NullMarked;
