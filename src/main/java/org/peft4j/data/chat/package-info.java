/** Conversations as a model reads them: from messages through a chat template to tokens. */
@NullMarked
package org.peft4j.data.chat;

import org.jspecify.annotations.NullMarked;
