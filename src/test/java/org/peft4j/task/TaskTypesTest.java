package org.peft4j.task;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.peft4j.config.TaskConfig;
import org.peft4j.run.RunConfigFile;

/** Every task is registered where tasks are: what a new one must not forget. */
class TaskTypesTest {
    @Test
    void everyTasksSettingsHaveAType() {
        List<String> settings = new ClassFileImporter()
                .importPackagesOf(TaskConfig.class).stream()
                        .filter(type -> type.isAssignableTo(TaskConfig.class) && !type.isInterface())
                        .map(JavaClass::getFullName)
                        .toList();

        assertThat(settings).hasSizeGreaterThan(3);
        assertThat(TaskTypes.all().stream().map(type -> type.configType().getName()))
                .containsExactlyInAnyOrderElementsOf(settings);
    }

    @Test
    void everyTaskHasAFormInRunFiles() {
        for (TaskType<?> type : TaskTypes.all()) {
            TaskConfig defaults = type.defaults();
            Map<String, Object> form = RunConfigFile.taskMap(defaults);

            assertThat(form).containsEntry("type", type.name());
            assertThat(RunConfigFile.task(form, "here")).isEqualTo(defaults);
            assertThat(RunConfigFile.task(Map.of("type", type.name()), "here"))
                    .as("nothing but its name")
                    .isEqualTo(defaults);
        }
    }

    @Test
    void namesAreTheirOwn() {
        assertThat(TaskTypes.all()).extracting(TaskType::name).doesNotHaveDuplicates();
        assertThat(TaskTypes.all()).extracting(TaskType::peftName).doesNotHaveDuplicates();
    }
}
