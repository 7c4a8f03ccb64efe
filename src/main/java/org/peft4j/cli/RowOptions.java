package org.peft4j.cli;

import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options of commands that read a language model's rows with their answers, over what is saved with the adapter. */
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class RowOptions {
    @Mixin
    private FormOptions form;

    @Option(
            names = "--loss-on",
            paramLabel = "WHAT",
            description = "Which tokens of a conversation count: assistant, last or all (default: what the adapter was"
                    + " trained with, else assistant).")
    private @Nullable String lossOn;

    /** Settings of the task by their names in run files; null for what is not said. */
    Map<String, @Nullable Object> settings() {
        Map<String, @Nullable Object> settings = form.settings();
        settings.put("loss_on", lossOn);
        return settings;
    }
}
