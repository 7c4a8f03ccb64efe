package org.peft4j;

import java.io.IOException;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.error.TrainingException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.AtomicDirectories;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.BaseHash;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.DType;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorSource;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.train.OutputLabels;

/** Writes a plain model directory whose weights have an adapter in them. The adapter and the base model stay as they are. */
public final class Merge {
    private Merge() {}

    /**
     * Merges; the new directory is whole or absent. It is a classifier that transformers loads with the same labels.
     *
     * @return what a user should know about the files
     * @throws ConfigException if the method cannot be merged, or {@code out} exists and must not be replaced
     * @throws MalformedFileException if model and adapter do not fit, or a value would not be finite
     */
    public static List<String> merge(Path modelPath, Path adapterPath, Path out, boolean overwrite) throws IOException {
        Objects.requireNonNull(modelPath, "model");
        Objects.requireNonNull(adapterPath, "adapter");
        Objects.requireNonNull(out, "out");
        if (Files.exists(out) && !overwrite) {
            throw new ConfigException("out: " + out
                    + " exists; choose another directory, or replace it (--overwrite; in Java overwrite = true)");
        }
        ModelDirectory directory = ModelDirectory.open(modelPath);
        AdapterFile file = AdapterFiles.read(adapterPath);
        AdapterSettings settings = AdapterSettings.read(file.directory()).orElse(null);
        List<String> notes = new ArrayList<>();
        if (settings != null && settings.baseHash() != null) {
            settings.otherBase(BaseHash.of(directory)).ifPresent(notes::add);
        }
        OutputLabels outputs = new OutputLabels(directory, file, settings);
        List<String> labels = outputs.forUse(List.of()).names();
        try (HeadedModel model = HeadedModel.open(
                        directory,
                        new ModelOptions(false, false, 0),
                        HeadKind.SEQUENCE,
                        new HeadOptions(labels.size(), outputs.adapterHead() > 0));
                PointerScope scope = new PointerScope()) {
            Points points = model.points();
            AdapterStore.Loaded loaded = AdapterStore.read(file, "merged", points);
            notes.addAll(model.model().notes());
            notes.addAll(loaded.notes());
            try (var adapter = loaded.adapter()) {
                Methods.of(loaded.config()).mergeRefusal().ifPresent(reason -> {
                    throw new ConfigException(
                            "a " + loaded.config().peftType().yamlName() + " adapter cannot be merged: " + reason);
                });
                Map<String, Tensor> changed = Methods.of(loaded.config()).merged(adapter, points);
                write(directory, points, changed, labels, out, overwrite);
            }
        }
        return notes;
    }

    private static void write(
            ModelDirectory directory,
            Points points,
            Map<String, Tensor> changed,
            List<String> labels,
            Path out,
            boolean overwrite)
            throws IOException {
        DType storage = directory.storage();
        List<TensorSource> tensors = new ArrayList<>();
        for (TensorPoint point : points.tensors().values()) {
            tensors.add(new Source(point.path(), changed.getOrDefault(point.path(), point.value()), storage));
        }
        Map<String, @Nullable Object> config = new LinkedHashMap<>(directory.config());
        Map<String, Object> names = new LinkedHashMap<>();
        Map<String, Object> numbers = new LinkedHashMap<>();
        for (int i = 0; i < labels.size(); i++) {
            names.put(String.valueOf(i), labels.get(i));
            numbers.put(labels.get(i), i);
        }
        config.put("architectures", List.of(points.architecture()));
        config.put("id2label", names);
        config.put("label2id", numbers);
        config.put("dtype", storage.torchName());
        if (config.containsKey("torch_dtype")) { // transformers before 4.56 reads this one
            config.put("torch_dtype", storage.torchName());
        }
        AtomicDirectories.write(out, overwrite, made -> {
            AtomicFiles.writeString(made.resolve("config.json"), Json.write(config) + "\n");
            SafeTensors.write(made.resolve("model.safetensors"), Map.of("format", "pt"), tensors);
            for (String name : List.of(
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "special_tokens_map.json",
                    "added_tokens.json",
                    "vocab.txt")) {
                Path file = directory.directory().resolve(name);
                if (Files.isRegularFile(file)) {
                    Files.copy(file, made.resolve(name));
                }
            }
        });
    }

    /** A tensor of the model, in the type that all of the base's have. */
    private record Source(String name, Tensor tensor, DType dtype) implements TensorSource {
        private static final Map<DType, ScalarType> TYPES = Map.of(
                DType.F32, ScalarType.Float,
                DType.F16, ScalarType.Half,
                DType.BF16, ScalarType.BFloat16);

        @Override
        public List<Long> shape() {
            return java.util.Arrays.stream(Tensors.shape(tensor)).boxed().toList();
        }

        @Override
        public void writeTo(WritableByteChannel out) throws IOException {
            try (PointerScope scope = new PointerScope()) {
                Tensor narrow = tensor.to(TYPES.get(dtype)).contiguous();
                if (!narrow.isfinite().all().item_bool()) {
                    throw new TrainingException(
                            tensor.isfinite().all().item_bool()
                                    ? "merging would put values into " + name + " that " + dtype.torchName()
                                            + ", the base's type, does not hold; convert the base to bfloat16 or float32"
                                    : "merging would put values that are not finite into " + name);
                }
                out.write(Tensors.view(narrow));
            }
        }
    }
}
