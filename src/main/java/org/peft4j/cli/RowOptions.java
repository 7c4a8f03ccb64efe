package org.peft4j.cli;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options of commands that read a language model's rows, over what is saved with the adapter. */
final class RowOptions {
    @Option(
            names = "--rows",
            paramLabel = "FORM",
            description = "What a language model's row has: text, prompt, messages, conversations or instruction"
                    + " (default: what its columns say).")
    private @Nullable String rows;

    @Option(
            names = "--template",
            paramLabel = "T",
            description = "The chat template: a .jinja file, or the name of one of the tokenizer's (default: the"
                    + " adapter's, else the tokenizer's).")
    private @Nullable String template;

    @Option(
            names = "--loss-on",
            paramLabel = "WHAT",
            description = "Which tokens of a conversation count: assistant, last or all (default: what the adapter was"
                    + " trained with, else assistant).")
    private @Nullable String lossOn;

    /** Settings of the task by their names in run files; null for what is not said. */
    Map<String, @Nullable Object> settings() {
        Map<String, @Nullable Object> settings = new LinkedHashMap<>();
        settings.put("rows", rows);
        settings.put("template", template);
        settings.put("loss_on", lossOn);
        return settings;
    }
}
