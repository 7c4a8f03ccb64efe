package org.peft4j.task.language;

import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig.Rows;
import org.peft4j.data.Row;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.data.template.ChatTemplate;

/**
 * A row as a language model reads it.
 *
 * @param form what it had
 * @param rendered its text, all of it
 * @param template what made that text, or null
 * @param tokens those that are kept
 * @param counts for each of them whether it counts; null where that cannot be told
 * @param reason why not; empty where it can
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record EncodedRow(
        Rows form,
        String rendered,
        @Nullable ChatTemplate template,
        Tokens tokens,
        boolean @Nullable [] counts,
        String reason) {
    /**
     * The example.
     *
     * @param task of the adapter's tasks the row's, or none
     * @throws org.peft4j.error.MalformedFileException if it cannot be told which tokens count
     */
    LanguageExample example(Row row, int task) {
        if (counts == null) {
            throw row.wrong(reason);
        }
        return LanguageExample.of(tokens, counts, task, row.line());
    }
}
