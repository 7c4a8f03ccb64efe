package org.peft4j.method.multitask;

import java.util.List;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.PromptInit;
import org.peft4j.method.PromptStart;

/**
 * Settings of multitask prompt tuning: the rows in front of a text of task t are {@code P ∘ (C_t R_t)}, where all tasks share P
 * [virtualTokens, d], and C_t [virtualTokens, ranks] and R_t [ranks, d] are the task's own. All rows of a run are of one task; a
 * run that goes on from the adapter with another {@code task} trains that one, and the shared rows further.
 *
 * @param virtualTokens number of rows; more, more memory and capacity (10 to 100 is usual)
 * @param start how the shared rows begin
 * @param factors how many tasks there are, and which the texts are of
 * @param source prompts of other tasks that this one begins with
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2303.02861">Multitask Prompt Tuning Enables Parameter-Efficient Transfer Learning</a>
 */
public record MultitaskPromptConfig(
        int virtualTokens, PromptStart start, Factors factors, PromptSource source, List<String> modulesToSave)
        implements MethodConfig {
    /** More than any model has positions. */
    private static final int MOST = 1 << 16;

    /**
     * The tasks' own factors.
     *
     * @param tasks number of tasks that there are factors for
     * @param ranks rank of a task's factors
     * @param task number of the task that the texts are of, from 0
     */
    public record Factors(int tasks, int ranks, int task) {
        public Factors {
            check("tasks", tasks);
            check("ranks", ranks);
            if (task < 0 || task >= tasks) {
                throw new IllegalArgumentException(
                        "task must be 0 to " + (tasks - 1) + ", one of the " + tasks + " tasks, got " + task);
            }
        }
    }

    public MultitaskPromptConfig {
        check("virtualTokens", virtualTokens);
        boolean oneTask = source.sourceTasks() == SourceTasks.AVERAGE || source.sourceTasks() == SourceTasks.EXACT;
        if (oneTask && factors.tasks() != 1) {
            throw new IllegalArgumentException(
                    "tasks must be 1 where the factors of other tasks are taken for it (source_tasks), got "
                            + factors.tasks());
        }
        if (source.sourceTasks() != SourceTasks.NONE && start.init() != PromptInit.RANDOM) {
            throw new IllegalArgumentException(
                    "init must be left out where the rows are taken from source_path, got " + start.init());
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    private static void check(String name, int value) {
        if (value < 1 || value > MOST) {
            throw new IllegalArgumentException(
                    name + " must be " + (value < 1 ? "at least 1" : "at most " + MOST) + ", got " + value);
        }
    }

    /** Twenty rows, one task of rank 1. */
    public static MultitaskPromptConfig defaults() {
        return new MultitaskPromptConfig(20, PromptStart.RANDOM, new Factors(1, 1, 0), PromptSource.NONE, List.of());
    }

    /** The same with another start of the shared rows. */
    public MultitaskPromptConfig withStart(PromptStart other) {
        return new MultitaskPromptConfig(virtualTokens, other, factors, source, modulesToSave);
    }

    /** The same for texts of another task. */
    public MultitaskPromptConfig withTask(int other) {
        return new MultitaskPromptConfig(
                virtualTokens, start, new Factors(factors.tasks(), factors.ranks(), other), source, modulesToSave);
    }

    @Override
    public MultitaskPromptConfig withModulesToSave(List<String> modules) {
        return new MultitaskPromptConfig(virtualTokens, start, factors, source, modules);
    }
}
