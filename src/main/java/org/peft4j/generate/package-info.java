/**
 * What a language model says next: generation with a cache of keys and values, and the probability of given texts. Works on
 * numbers of tokens; texts are the caller's.
 */
@NullMarked
package org.peft4j.generate;

import org.jspecify.annotations.NullMarked;
