package org.peft4j.cli;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options of commands that read a language model's rows, over what is saved with the adapter. */
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class FormOptions {
    @Option(
            names = "--rows",
            paramLabel = "FORM",
            description = "What a language model's row has: text, prompt, messages, conversations or instruction"
                    + " (default: what its columns say).")
    private @Nullable String rows;

    @Mixin
    private TemplateOption template;

    /** Settings of the task by their names in run files; null for what is not said. */
    Map<String, @Nullable Object> settings() {
        Map<String, @Nullable Object> settings = new LinkedHashMap<>();
        settings.put("rows", rows);
        settings.put(TemplateOption.SETTING, template.value());
        return settings;
    }
}
