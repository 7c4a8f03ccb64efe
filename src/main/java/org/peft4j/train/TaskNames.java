package org.peft4j.train;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ModelDirectory;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.task.TaskType;
import org.peft4j.task.TaskTypes;

/** Which task a model or adapter is used for, where files say so. */
final class TaskNames {
    private TaskNames() {}

    /**
     * The asked one, if nothing contradicts it; else the one that stands beside the adapter, the {@code task_type} of its
     * config, the class of the model's config ({@code architectures}), or sequence classification.
     *
     * @throws ConfigException if the adapter was trained for another one than asked for
     */
    static String choose(
            ModelDirectory directory,
            @Nullable AdapterFile file,
            @Nullable AdapterSettings beside,
            @Nullable String asked) {
        String trained = trained(file, beside);
        if (asked != null && trained != null && !asked.equals(trained)) {
            throw new ConfigException("the adapter was trained for the task " + trained + ", not for " + asked
                    + "; use it for that, or train one for " + asked);
        }
        if (asked != null || trained != null) {
            return asked != null ? asked : trained;
        }
        String fromModel = ofModel(directory);
        return fromModel == null ? SequenceClassificationConfig.TYPE : fromModel;
    }

    /** The task that an adapter was trained for; null if there is no adapter, or its files do not say. */
    static @Nullable String trained(@Nullable AdapterFile file, @Nullable AdapterSettings beside) {
        if (beside != null) {
            return beside.task().type();
        }
        Object type = file == null ? null : file.config().get("task_type");
        return type == null
                ? null
                : TaskTypes.all().stream()
                        .filter(task -> task.peftName().equals(type))
                        .map(TaskType::name)
                        .findFirst()
                        .orElseThrow(() -> new ConfigException("the adapter was trained for PEFT's task " + type
                                + " (task_type), which is not offered; offered are "
                                + TaskTypes.all().stream()
                                        .map(TaskType::peftName)
                                        .toList()));
    }

    private static @Nullable String ofModel(ModelDirectory directory) {
        if (directory.config().get("architectures") instanceof List<?> classes && classes.size() == 1) {
            String name = String.valueOf(classes.get(0));
            return TaskTypes.all().stream()
                    .filter(task ->
                            task.architectureSuffix().filter(name::endsWith).isPresent())
                    .map(TaskType::name)
                    .findFirst()
                    .orElse(null);
        }
        return null;
    }
}
