package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.config.ModelConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AtomicDirectories;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.spi.lora.LoraOfUpdate;
import org.peft4j.nn.seam.Points;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.train.LoadedTask;
import org.peft4j.train.OpenedModel;

/** Writes an adapter of any method that changes linear layers and can be merged as plain LoRA, which every program that knows LoRA serves. */
public final class Convert {
    private Convert() {}

    /**
     * What came of it.
     *
     * @param r the largest rank of a layer
     * @param error {@code ‖ΔW − BA‖ / ‖ΔW‖} (Frobenius) of all layers together: 0 where the rank holds the whole update
     * @param errors the same of each layer, by path
     * @param notes what a user should know about the files
     */
    public record Result(int r, double error, Map<String, Double> errors, List<String> notes) {
        public Result {
            errors = Map.copyOf(errors);
            notes = List.copyOf(notes);
        }
    }

    /**
     * Converts; the new directory is whole or absent. Each changed weight gets the largest singular values of what the adapter adds
     * to it; changed biases and modules that are trained as a whole go along unchanged.
     *
     * @param rank the most of a layer; 0: as much as the update has
     * @throws ConfigException if the method cannot be merged or changes something that LoRA cannot, rank is negative, or
     *     {@code out} exists and must not be replaced
     */
    public static Result toLora(Path model, Path adapter, Path out, int rank, boolean overwrite) throws IOException {
        Objects.requireNonNull(model, "model");
        Objects.requireNonNull(adapter, "adapter");
        Objects.requireNonNull(out, "out");
        if (rank < 0) {
            throw new ConfigException("rank must be 0 (as much as the update has) or more, got " + rank);
        }
        Outputs.check(out, overwrite);
        ModelConfig config =
                ModelConfig.of(model).withDropout(ModelConfig.Dropout.OFF).withDevice("cpu");
        try (OpenedModel base = OpenedModel.openTensors(config);
                LoadedTask<?> loaded = LoadedTask.loadWithoutTokenizer(base, adapter);
                PointerScope scope = new PointerScope()) {
            List<String> notes = new ArrayList<>(base.model().notes());
            notes.addAll(loaded.notes());
            AdapterStore.Loaded stored = Objects.requireNonNull(loaded.stored());
            return write(loaded, stored, adapter, model, out, rank, overwrite, notes);
        }
    }

    private static Result write(
            LoadedTask<?> loaded,
            AdapterStore.Loaded stored,
            Path adapter,
            Path model,
            Path out,
            int rank,
            boolean overwrite,
            List<String> notes)
            throws IOException {
        Methods.of(stored.config()).mergeRefusal(stored.config()).ifPresent(reason -> {
            throw new ConfigException("a " + Methods.of(stored.config()).name()
                    + " adapter cannot be merged, and so is no update of weights: " + reason);
        });
        Points points = loaded.model().points();
        Map<String, Tensor> merged = Methods.of(stored.config()).merged(stored.adapter(), points);
        LoraOfUpdate lora =
                LoraOfUpdate.of(merged, points, rank, stored.config().modulesToSave());
        try (var plain = lora.adapter()) {
            AtomicDirectories.write(out, overwrite, made -> {
                AdapterStore.write(
                        made,
                        plain,
                        lora.config(),
                        points,
                        model.toString(),
                        loaded.task().peftName());
                AdapterSettings.copy(adapter, made);
            });
        }
        return new Result(lora.config().r(), lora.error(), lora.errors(), notes);
    }
}
