package org.peft4j.method.spi.multitask;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.SourceTasks;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.seam.Adapter;

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
        set(adapter, SoftPrompt.TABLE, tensor(file, tensors, SoftPrompt.TABLE).toFloats(), file);
        if (config.source().sourceTasks() != SourceTasks.SHARED) {
            for (String name : List.of(MultitaskMethod.COLUMNS, MultitaskMethod.ROWS)) {
                set(adapter, name, factors(tensor(file, tensors, name), config, file), file);
            }
        }
    }

    private static TensorData tensor(Path file, Map<String, TensorData> tensors, String name) {
        TensorData data = tensors.get(name);
        if (data == null) {
            throw new ConfigException("method.source_path: " + file + " lacks the tensor " + name
                    + ": it must be the file of a multitask prompt, has " + tensors.keySet());
        }
        return data;
    }

    /** The mean over all tasks, or one task's part. */
    private static float[] factors(TensorData data, MultitaskPromptConfig config, Path file) {
        int tasks = Math.toIntExact(data.shape().get(0));
        float[] all = data.toFloats();
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
            int at = i;
            mean[i] = (float) (IntStream.range(0, tasks)
                            .mapToDouble(t -> all[t * size + at])
                            .sum()
                    / tasks);
        }
        return mean;
    }

    private static void set(Adapter adapter, String path, float[] values, Path file) {
        long elements = Objects.requireNonNull(adapter.parameters().get(path)).elements();
        if (values.length != elements) {
            throw new ConfigException("method.source_path: " + path + " of " + file + " has " + values.length
                    + " numbers, but " + elements
                    + " are wanted: virtual_tokens, ranks and the model's width must be those of the file");
        }
        Objects.requireNonNull(adapter.parameters().get(path)).set(values);
    }
}
