package org.peft4j.task;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TaskConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadLayout;
import org.peft4j.model.Model;

/**
 * What a task is decided from, beside what the caller says.
 *
 * @param model the opened base
 * @param directory its directory
 * @param adapter the adapter's files, or null
 * @param saved the task that stands beside the adapter, or null
 * @param notes collects what a user should know
 */
public record Origin(
        Model model,
        ModelDirectory directory,
        @Nullable AdapterFile adapter,
        @Nullable TaskConfig saved,
        List<String> notes) {
    /** The saved task, if it is of this type. */
    public <C extends TaskConfig> @Nullable C saved(Class<C> type) {
        return type.isInstance(saved) ? type.cast(saved) : null;
    }

    /** What transformers puts behind the base for a kind of output. */
    public HeadLayout layout(HeadKind kind) {
        return model.headLayout(kind)
                .orElseThrow(() -> new ConfigException("a model of the family "
                        + model.info().modelType() + " cannot do " + kind.words() + ": "
                        + "choose another task, or another model"));
    }
}
