package org.peft4j.method.spi.multitask;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorNames;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.SourceTasks;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;

/** Prompts of other tasks, from a file of multitask prompt tuning, as first values of an adapter. */
final class SourcePrompts {
    private SourcePrompts() {}

    /** @throws ConfigException if the file cannot be read, lacks a tensor, or has one of another shape */
    static void into(Adapter adapter, MultitaskPromptConfig config) {
        Path path = Objects.requireNonNull(config.source().sourcePath());
        Path file = Files.isDirectory(path) ? path.resolve(AdapterFiles.TENSORS) : path;
        Map<String, TensorData> tensors;
        try {
            tensors = SafeTensors.read(file);
        } catch (IOException e) {
            throw new ConfigException("method.source_path: " + file + " cannot be read: " + e.getMessage(), e);
        }
        Parameter shared = parameter(adapter, SoftPrompt.TABLE);
        shared.set(values(file, tensor(file, tensors, SoftPrompt.TABLE), shape(shared)));
        if (config.source().sourceTasks() != SourceTasks.SHARED) {
            for (String name : List.of(MultitaskMethod.COLUMNS, MultitaskMethod.ROWS)) {
                Parameter own = parameter(adapter, name);
                own.set(factors(file, tensors, own, config));
            }
        }
    }

    private static Parameter parameter(Adapter adapter, String name) {
        return Objects.requireNonNull(adapter.parameters().get(name));
    }

    private static List<Long> shape(Parameter parameter) {
        return Arrays.stream(parameter.shape()).boxed().toList();
    }

    private static TensorData tensor(Path file, Map<String, TensorData> tensors, String name) {
        TensorData data = tensors.get(name);
        if (data == null || !data.dtype().isFloat()) {
            throw new ConfigException("method.source_path: " + file + " must be the file of a multitask prompt, with a"
                    + " tensor " + name + " of numbers; it has " + TensorNames.some(tensors.keySet()));
        }
        return data;
    }

    /** The mean over all tasks, or one task's part. */
    private static float[] factors(
            Path file, Map<String, TensorData> tensors, Parameter own, MultitaskPromptConfig config) {
        TensorData data = tensor(file, tensors, own.path());
        List<Long> one = shape(own); // of one task
        int tasks = data.shape().isEmpty() ? 0 : Math.toIntExact(data.shape().get(0));
        List<Long> wanted = new ArrayList<>(one);
        wanted.set(0, Math.max(1L, tasks));
        float[] all = values(file, data, wanted);
        int size = all.length / tasks;
        int task = config.source().sourceTask();
        if (config.source().sourceTasks() == SourceTasks.EXACT) {
            if (task >= tasks) {
                throw new ConfigException("method.source_task must be 0 to " + (tasks - 1) + ", one of the tasks of "
                        + file + ", got " + task);
            }
            return Arrays.copyOfRange(all, task * size, (task + 1) * size);
        }
        float[] mean = new float[size];
        for (int i = 0; i < size; i++) {
            double sum = 0;
            for (int t = 0; t < tasks; t++) {
                sum += all[t * size + i];
            }
            mean[i] = (float) (sum / tasks);
        }
        return mean;
    }

    private static float[] values(Path file, TensorData data, List<Long> wanted) {
        if (!data.shape().equals(wanted)) {
            throw new ConfigException(
                    "method.source_path: " + data.name() + " of " + file + " must have shape " + wanted + ", has "
                            + data.shape() + ": virtual_tokens, ranks and the model's width must be those of the file");
        }
        float[] values = data.toFloats();
        for (float value : values) {
            if (!Float.isFinite(value)) {
                throw new ConfigException("method.source_path: " + data.name() + " of " + file
                        + " must hold finite numbers, has " + value);
            }
        }
        return values;
    }
}
