package org.peft4j.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** {@code --template}, of commands that read conversations: {@code task.template} of run files. */
final class TemplateOption {
    /** Its name among the task's settings. */
    static final String SETTING = "template";

    @Option(
            names = "--template",
            paramLabel = "T",
            description = "The chat template: a .jinja file, or the name of one of the tokenizer's (default: the"
                    + " adapter's, else the tokenizer's).")
    private @Nullable String template;

    @Nullable
    String value() {
        return template;
    }
}
