/** (IA)³: trained factors of keys, values and what the MLP's last layer reads. */
@NullMarked
package org.peft4j.method.ia3;

import org.jspecify.annotations.NullMarked;
