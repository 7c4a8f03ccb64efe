/** What to do, as records: run, model, data, task, training. No tensors; nothing is read or written here. */
@NullMarked
package org.peft4j.config;

import org.jspecify.annotations.NullMarked;
