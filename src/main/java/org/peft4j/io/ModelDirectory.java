package org.peft4j.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorLocation;
import org.peft4j.io.safetensors.TensorNames;

/**
 * A model as Hugging Face lays it out: {@code config.json}, {@code model.safetensors} or shards with
 * {@code model.safetensors.index.json}; the tokenizer's files beside them are not its business. Immutable, holds no file
 * open.
 *
 * <p>{@link #open} reads the config and the headers of the weights, not the weights. Symbolic links are followed, since
 * hub caches are made of them; names inside the index cannot leave the directory. Code in the directory is never run.
 */
public final class ModelDirectory {
    static final String CONFIG = "config.json";

    private final Path directory;
    private final Map<String, @Nullable Object> config;
    private final String modelType;
    private final Map<String, TensorLocation> tensors;

    private ModelDirectory(
            Path directory,
            Map<String, @Nullable Object> config,
            String modelType,
            Map<String, TensorLocation> tensors) {
        this.directory = directory;
        this.config = config;
        this.modelType = modelType;
        this.tensors = tensors;
    }

    /**
     * Opens a model directory and checks what is in it.
     *
     * @throws MalformedFileException if config or weights are missing, are pickle files, are quantized, or are not what
     *                                their formats say
     */
    public static ModelDirectory open(Path dir) throws IOException {
        if (!Files.isDirectory(dir)) {
            throw new MalformedFileException(
                    dir,
                    -1,
                    "model must be a directory with config.json and model.safetensors, this is "
                            + PathKinds.describe(dir));
        }
        Path file = dir.resolve(CONFIG);
        if (!Files.isRegularFile(file)) {
            throw new MalformedFileException(
                    dir,
                    -1,
                    "model directory lacks " + CONFIG
                            + (Files.exists(file) || Files.isSymbolicLink(file)
                                    ? ", which is " + PathKinds.describe(file)
                                    : "")
                            + (Files.exists(dir.resolve(AdapterFiles.CONFIG))
                                    ? "; it is an adapter, and needs the base model's directory beside it"
                                    : Subfolders.hint(dir)));
        }
        Map<String, @Nullable Object> config = Json.readObject(dir.resolve(CONFIG));
        if (!(config.get("model_type") instanceof String modelType) || modelType.isBlank()) {
            throw new MalformedFileException(
                    dir.resolve(CONFIG),
                    -1,
                    "model_type must name the architecture, such as \"bert\", got " + config.get("model_type"));
        }
        if (config.get("quantization_config") != null) {
            throw new MalformedFileException(
                    dir.resolve(CONFIG),
                    -1,
                    "quantization_config is there, but quantized"
                            + " weights cannot be read before the nf4 layout exists; take the unquantized model");
        }
        return new ModelDirectory(dir, config, modelType, WeightFiles.find(dir));
    }

    /** The directory as it was given. */
    public Path directory() {
        return directory;
    }

    /** The path of {@code config.json}. */
    public Path configFile() {
        return directory.resolve(CONFIG);
    }

    /** The content of {@code config.json}; immutable, see {@link Json} for the types in it. */
    public Map<String, @Nullable Object> config() {
        return config;
    }

    /** {@code model_type} of the config, such as {@code bert}. Whether we know it is the backbones' question. */
    public String modelType() {
        return modelType;
    }

    /**
     * Every tensor by its name in the model (see {@link TensorNames}), in the order of the file or of the index; immutable.
     */
    public Map<String, TensorLocation> tensors() {
        return tensors;
    }

    /** For the message about a tensor that is not there: three names as the files have them, and where else a model is. */
    public String found() {
        return TensorNames.some(tensors.values(), location -> location.info().name()) + Subfolders.hint(directory);
    }

    /**
     * The one type of all floating-point tensors, if that is a 16-bit type; else float32, which holds what the others hold
     * to the precision that is computed with.
     */
    public ElementType storage() {
        Set<ElementType> types = EnumSet.noneOf(ElementType.class);
        tensors.values().forEach(location -> types.add(location.info().dtype()));
        types.removeIf(type -> !type.isFloat());
        boolean half = types.equals(Set.of(ElementType.F16)) || types.equals(Set.of(ElementType.BF16));
        return half ? types.iterator().next() : ElementType.F32;
    }
}
