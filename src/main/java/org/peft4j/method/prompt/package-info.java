/** Prompt tuning: trained rows in front of each text. */
@NullMarked
package org.peft4j.method.prompt;

import org.jspecify.annotations.NullMarked;
