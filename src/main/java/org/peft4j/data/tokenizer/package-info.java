/**
 * Tokenizers from files: {@code tokenizer.json} or {@code vocab.txt}, and what {@code tokenizer_config.json} changes. The
 * native library ends the whole process on a file that it does not expect, so each file is read and judged here, and the
 * library gets a document that is written anew from what was understood.
 */
@NullMarked
package org.peft4j.data.tokenizer;

import org.jspecify.annotations.NullMarked;
