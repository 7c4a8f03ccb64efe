package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.run.files.AdapterSettings;

/** Adapter files whose every part tells which save they are of, without a model. */
public final class Generation {
    private static final String TENSOR = "base_model.model.classifier.weight";

    private Generation() {}

    /** Writes an adapter of a save. */
    public static void write(int number, Path to) throws IOException {
        TaskConfig task = SequenceClassificationConfig.builder()
                .labels(labels(number))
                .maxLength(number)
                .build();
        new AdapterSettings(task, null).write(to);
        float[] values = new float[1000];
        Arrays.fill(values, number);
        AdapterFiles.write(
                to,
                Map.of("peft_type", "LORA", "r", number),
                List.of(TensorData.ofFloats(TENSOR, List.of(10L, 100L), values)));
    }

    private static List<String> labels(int number) {
        return number % 2 == 0 ? List.of("ham", "spam") : List.of("spam", "ham");
    }

    /** The save that a directory holds; fails if its files are of several. */
    public static int read(Path directory) throws IOException {
        AdapterFile file = AdapterFiles.read(directory);
        AdapterSettings settings = AdapterSettings.read(directory).orElseThrow();
        int number = ((Number) file.config().get("r")).intValue();
        for (float value : file.tensors().get(TENSOR).toFloats()) {
            same(directory, number, value);
        }
        same(directory, number, settings.task().maxLength());
        if (!settings.classification().labels().equals(labels(number))) {
            throw new AssertionError(directory + ": labels of another save: "
                    + settings.classification().labels());
        }
        return number;
    }

    /** What a program sees that knows only the places of the files: an adapter of one run, or none (0). */
    public static int readPlaces(Path directory, Path copies) throws IOException {
        Files.createDirectories(copies);
        for (String name : List.of(AdapterFiles.CONFIG, AdapterFiles.TENSORS)) {
            if (!Files.exists(directory.resolve(name))) {
                return 0;
            }
            Files.copy(directory.resolve(name), copies.resolve(name));
        }
        AdapterFile file = AdapterFiles.read(copies);
        int number = ((Number) file.config().get("r")).intValue();
        int weights = (int) file.tensors().get(TENSOR).toFloats()[0];
        if ((number == 1) != (weights == 1)) { // saves 2 and 3 are of one run, whose settings stay the same
            same(directory, number, weights);
        }
        return weights;
    }

    private static void same(Path directory, int number, float other) {
        if (number != other) {
            throw new AssertionError(directory + " mixes save " + number + " with " + other);
        }
    }
}
