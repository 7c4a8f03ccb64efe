/**
 * Bottleneck adapters: small networks behind, or beside, the sublayers of blocks; those of AdapterHub's library,
 * Compacter, MAM; and AdapterFusion, which mixes several.
 */
@NullMarked
package org.peft4j.method.bottleneck;

import org.jspecify.annotations.NullMarked;
