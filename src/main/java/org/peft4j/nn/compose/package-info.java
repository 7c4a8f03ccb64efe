/**
 * Adapters that are made of other adapters' claims and own nothing: what they do one behind the other, on average, or each on its
 * range of every text. Backbones see one adapter, with the claims that follow.
 */
@NullMarked
package org.peft4j.nn.compose;

import org.jspecify.annotations.NullMarked;
