package org.peft4j.task;

import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.peft4j.config.TaskConfig;
import org.peft4j.task.classification.SequenceClassificationType;
import org.peft4j.task.embedding.EmbeddingType;
import org.peft4j.task.language.CausalLmType;
import org.peft4j.task.tagging.TokenClassificationType;

/** The kinds of task we know. A new one is added here. */
public final class TaskTypes {
    private static final List<TaskType<?>> TYPES = List.of(
            new SequenceClassificationType(), new TokenClassificationType(), new EmbeddingType(), new CausalLmType());

    private static final Map<String, TaskType<?>> BY_NAME =
            TYPES.stream().collect(Collectors.toMap(TaskType::name, Function.identity()));

    private TaskTypes() {}

    public static List<TaskType<?>> all() {
        return TYPES;
    }

    /** The kind of these settings. */
    @SuppressWarnings("unchecked") // a type's configType() is the class of its settings
    public static <C extends TaskConfig> TaskType<C> of(C config) {
        TaskType<?> type = BY_NAME.get(config.type());
        if (type == null || !type.configType().isInstance(config)) {
            throw new AssertionError("no task type for " + config);
        }
        return (TaskType<C>) type;
    }
}
