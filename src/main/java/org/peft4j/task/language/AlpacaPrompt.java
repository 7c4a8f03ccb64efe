package org.peft4j.task.language;

/** The form in which Alpaca was trained (Taori et al. 2023), with an input and without one. */
final class AlpacaPrompt {
    /** How it is called where rows are shown. */
    static final String NAME = "Alpaca's own form, since there is no chat template";

    private AlpacaPrompt() {}

    /** What stands before the output. */
    static String of(String instruction, String input) {
        String what = input.isEmpty()
                ? "Below is an instruction that describes a task. "
                : "Below is an instruction that describes a task, paired with an input that provides further context. ";
        return what
                + "Write a response that appropriately completes the request.\n\n"
                + "### Instruction:\n" + instruction + "\n\n"
                + (input.isEmpty() ? "" : "### Input:\n" + input + "\n\n")
                + "### Response:";
    }
}
