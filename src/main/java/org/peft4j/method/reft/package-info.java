/** Settings of representation fine-tuning: LoReFT, NoReFT, DiReFT. */
@NullMarked
package org.peft4j.method.reft;

import org.jspecify.annotations.NullMarked;
