package org.peft4j;

import java.io.IOException;
import java.nio.channels.WritableByteChannel;
import java.nio.file.DirectoryStream;
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
import org.peft4j.config.ModelConfig;
import org.peft4j.config.ProblemType;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.data.template.ChatTemplates;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.error.TrainingException;
import org.peft4j.io.AtomicDirectories;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorSource;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.Head;
import org.peft4j.model.LanguageHead;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.task.Task;
import org.peft4j.train.LoadedTask;
import org.peft4j.train.OpenedModel;

/** Writes a plain model directory whose weights have an adapter in them. The adapter and the base model stay as they are. */
public final class Merge {
    private static final String TIED = "tie_word_embeddings";

    private static final Map<ElementType, ScalarType> TYPES = Map.of(
            ElementType.F32, ScalarType.Float,
            ElementType.F16, ScalarType.Half,
            ElementType.BF16, ScalarType.BFloat16);

    /** What a model directory has beside its weights, as far as it stays true of the merged model. */
    private static final List<String> COPIED = List.of(
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "vocab.txt",
            "vocab.json",
            "merges.txt",
            "tokenizer.model",
            ChatTemplates.FILE,
            "chat_template.json",
            "generation_config.json");

    private Merge() {}

    /**
     * Merges; the new directory is whole or absent. transformers loads it as the task's class, a classifier with the same labels; an
     * embedder also has the files of sentence-transformers that say how rows become vectors.
     * Of an embedding's table and a language model's head that the base ties, both are written if the adapter makes them
     * different, and {@code tie_word_embeddings} becomes false.
     *
     * @return what a user should know about the files
     * @throws ConfigException if the method cannot be merged, or {@code out} exists and must not be replaced
     * @throws MalformedFileException if model and adapter do not fit, or a value would not be finite
     */
    public static List<String> merge(Path modelPath, Path adapterPath, Path out, boolean overwrite) throws IOException {
        return merge(modelPath, adapterPath, out, overwrite, "cpu");
    }

    /**
     * The same on another device. Each weight is read once and written once: a card saves no time unless updates are large.
     *
     * @param device {@code cpu}, {@code cuda:N} or {@code auto}
     */
    public static List<String> merge(Path modelPath, Path adapterPath, Path out, boolean overwrite, String device)
            throws IOException {
        Objects.requireNonNull(modelPath, "model");
        Objects.requireNonNull(adapterPath, "adapter");
        Objects.requireNonNull(out, "out");
        Outputs.check(out, overwrite);
        List<String> notes = new ArrayList<>();
        try (OpenedModel base = OpenedModel.openTensors(config(modelPath, device));
                LoadedTask<?> loaded = LoadedTask.loadWithoutTokenizer(base, adapterPath);
                PointerScope scope = new PointerScope()) {
            notes.addAll(base.model().notes());
            notes.addAll(loaded.notes());
            AdapterStore.Loaded stored = Objects.requireNonNull(loaded.stored());
            merge(base.directory(), loaded, stored, out, overwrite);
        }
        return notes;
    }

    private static ModelConfig config(Path model, String device) {
        return ModelConfig.of(model).withDropout(ModelConfig.Dropout.OFF).withDevice(device);
    }

    private static void merge(
            ModelDirectory directory, LoadedTask<?> loaded, AdapterStore.Loaded stored, Path out, boolean overwrite)
            throws IOException {
        Methods.of(stored.config()).mergeRefusal(stored.config()).ifPresent(reason -> {
            throw new ConfigException(
                    "a " + Methods.of(stored.config()).name() + " adapter cannot be merged: " + reason);
        });
        Points points = loaded.model().points();
        Map<String, Tensor> values = new LinkedHashMap<>();
        points.tensors().forEach((path, point) -> values.put(path, point.value()));
        values.putAll(Methods.of(stored.config()).merged(stored.adapter(), points));
        points.tensors().values().stream()
                .filter(TensorPoint::transposed)
                .forEach(point -> values.computeIfPresent(point.path(), (path, value) -> value.t()));
        Map<String, @Nullable Object> config = new LinkedHashMap<>(directory.config());
        config.put("architectures", List.of(points.architecture()));
        putOutputs(config, loaded.task());
        putTie(config, loaded.model().head(), points, values, directory.storage());
        write(directory, config, values, loaded, out, overwrite);
    }

    /** Tied tensors are written once, by the embedding's name, as transformers does. */
    private static void putTie(
            Map<String, @Nullable Object> config,
            Head head,
            Points points,
            Map<String, Tensor> values,
            ElementType storage) {
        if (!(head instanceof LanguageHead language)) {
            return;
        }
        String output = language.path() + ".weight";
        for (EmbeddingPoint table : points.all(EmbeddingPoint.class)) {
            if (table.tied()) {
                ScalarType type = Objects.requireNonNull(TYPES.get(storage));
                Tensor rows = Objects.requireNonNull(values.get(table.path() + ".weight"));
                Tensor matrix = Objects.requireNonNull(values.get(output));
                if (Tensors.onCpu(rows, type).equal(Tensors.onCpu(matrix, type))) {
                    values.remove(output);
                } else {
                    config.put(TIED, false);
                }
            }
        }
    }

    private static void write(
            ModelDirectory directory,
            Map<String, @Nullable Object> config,
            Map<String, Tensor> values,
            LoadedTask<?> loaded,
            Path out,
            boolean overwrite)
            throws IOException {
        ElementType storage = directory.storage();
        List<TensorSource> tensors = new ArrayList<>();
        values.forEach((path, value) -> tensors.add(new Source(path, value, storage)));
        config.put("dtype", storage.torchName());
        if (config.containsKey("torch_dtype")) { // transformers before 4.56 reads this one
            config.put("torch_dtype", storage.torchName());
        }
        AtomicDirectories.write(out, overwrite, made -> {
            AtomicFiles.writeString(made.resolve("config.json"), Json.write(config) + "\n");
            SafeTensors.write(made.resolve("model.safetensors"), Map.of("format", "pt"), tensors);
            loaded.task().writeBeside(made, loaded.model().model().info());
            boolean template = Files.exists(made.resolve(ChatTemplates.FILE)); // the adapter's, in place of all others
            for (String name : COPIED) {
                copy(directory.directory().resolve(name), made.resolve(name));
            }
            if (!template) {
                copyTemplates(directory.directory().resolve(ChatTemplates.DIRECTORY), made);
            }
        });
    }

    private static void copy(Path file, Path to) throws IOException {
        if (Files.isRegularFile(file) && !Files.exists(to)) {
            Files.copy(file, to);
        }
    }

    /** The tokenizer's chat templates that have names, such as one for conversations with tools. */
    private static void copyTemplates(Path templates, Path made) throws IOException {
        if (!Files.isDirectory(templates)) {
            return;
        }
        Path to = Files.createDirectory(made.resolve(ChatTemplates.DIRECTORY));
        try (DirectoryStream<Path> files = Files.newDirectoryStream(templates, "*.jinja")) {
            for (Path file : files) {
                copy(file, to.resolve(file.getFileName().toString()));
            }
        }
    }

    /** What the outputs are, as transformers reads it. */
    private static void putOutputs(Map<String, @Nullable Object> config, Task<?> task) {
        List<String> labels = task.labels();
        if (task.config() instanceof SequenceClassificationConfig classes && classes.problem() != null) {
            if (config.containsKey("problem_type") || classes.problem() != ProblemType.SINGLE_LABEL) {
                config.put("problem_type", classes.problem().fileName());
            }
            labels = classes.problem() == ProblemType.REGRESSION ? List.of("LABEL_0") : labels;
        }
        if (labels.isEmpty()) {
            return;
        }
        Map<String, Object> names = new LinkedHashMap<>();
        Map<String, Object> numbers = new LinkedHashMap<>();
        for (int i = 0; i < labels.size(); i++) {
            names.put(String.valueOf(i), labels.get(i));
            numbers.put(labels.get(i), i);
        }
        config.put("id2label", names);
        config.put("label2id", numbers);
    }

    /** A tensor of the model, in the type that all of the base's have. */
    private record Source(String name, Tensor tensor, ElementType dtype) implements TensorSource {
        @Override
        public List<Long> shape() {
            return java.util.Arrays.stream(Tensors.shape(tensor)).boxed().toList();
        }

        @Override
        public void writeTo(WritableByteChannel out) throws IOException {
            try (PointerScope scope = new PointerScope()) {
                Tensor narrow = Tensors.onCpu(tensor, TYPES.get(dtype)).contiguous();
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
