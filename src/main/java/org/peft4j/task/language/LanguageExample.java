package org.peft4j.task.language;

import java.util.List;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.nn.seam.RowTasks;
import org.peft4j.task.Example;

/**
 * One row, or several of them that were put together; none sees another.
 *
 * @param sequences their tokens
 * @param counts for each of them which tokens count. Token 0 can be told from a row that an adapter inserts before it alone,
 *     and counts nowhere else
 * @param tasks for each of them which of the adapter's tasks it is of, or none
 * @param lines for each of them the line of its row
 */
record LanguageExample(List<Tokens> sequences, List<boolean[]> counts, List<Integer> tasks, List<Long> lines)
        implements Example {
    /** One sequence. */
    static LanguageExample of(Tokens tokens, boolean[] counts, long line) {
        return of(tokens, counts, RowTasks.NONE, line);
    }

    /** One sequence, of a task. */
    static LanguageExample of(Tokens tokens, boolean[] counts, int task, long line) {
        return new LanguageExample(List.of(tokens), List.of(counts), List.of(task), List.of(line));
    }

    @Override
    public long line() {
        return lines.get(0);
    }

    @Override
    public long line(int sequence) {
        return lines.get(sequence);
    }

    @Override
    public int task(int sequence) {
        return tasks.get(sequence);
    }

    /** Whether a token of a sequence counts, where so many rows are inserted before it. */
    boolean counts(int sequence, int token, int inserted) {
        return counts.get(sequence)[token] && (token > 0 || inserted > 0);
    }

    /** The first token of a sequence that counts if something can tell it, or behind its last one. */
    int first(int sequence) {
        boolean[] own = counts.get(sequence);
        int token = 0;
        while (token < own.length && !own[token]) {
            token++;
        }
        return token;
    }

    /** How many tokens count, where so many rows are inserted before each sequence. */
    int counted(int inserted) {
        int n = 0;
        for (int s = 0; s < counts.size(); s++) {
            for (int token = 0; token < counts.get(s).length; token++) {
                n += counts(s, token, inserted) ? 1 : 0;
            }
        }
        return n;
    }
}
