/**
 * Files: safetensors, adapter directories, model directories, JSON, and writing whole or not at all.
 *
 * <p>This layer knows bytes and nothing of training or tensors of a library. Two rules hold for everything in it:
 *
 * <ul>
 *   <li>Files we read are hostile. Sizes are bounded before they are read, counts before they are allocated, and what
 *       does not fit its format is a {@link org.peft4j.error.MalformedFileException} with file, offset and reason.
 *   <li>Files we write are whole or absent: see {@link org.peft4j.io.AtomicFiles}.
 * </ul>
 */
@NullMarked
package org.peft4j.io;

import org.jspecify.annotations.NullMarked;
