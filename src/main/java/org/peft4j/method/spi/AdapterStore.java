package org.peft4j.method.spi;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.AtomicFileSets;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/** Saves and loads adapters of any method in Hugging Face PEFT's format. */
public final class AdapterStore {
    /** Key of the tokenizer that a prompt's first words were read with: the base's. */
    static final String TOKENIZER = "tokenizer_name_or_path";

    private AdapterStore() {}

    /**
     * A loaded adapter.
     *
     * @param config its settings
     * @param notes what a user should know, such as targets that match nothing here
     */
    public record Loaded(Adapter adapter, MethodConfig config, List<String> notes) {}

    /**
     * Saves an adapter; each file is replaced whole or not at all. Paths are those of transformers' class for the model: on a
     * backbone alone they lack its name, so that PEFT finds the modules of {@code AutoModel}.
     *
     * @param baseModel the model's directory or name, for {@code base_model_name_or_path}
     * @param taskType Hugging Face's name of the task, such as {@code SEQ_CLS}, or null
     */
    public static void write(
            Path directory,
            Adapter adapter,
            MethodConfig config,
            Points points,
            String baseModel,
            @Nullable String taskType)
            throws IOException {
        write(Methods.of(config), directory, adapter, config, points, baseModel, taskType);
    }

    private static <C extends MethodConfig> void write(
            Method<C> method,
            Path directory,
            Adapter adapter,
            MethodConfig config,
            Points points,
            String baseModel,
            @Nullable String taskType)
            throws IOException {
        SavedModules.checkWritten(points, config.modulesToSave());
        UnaryOperator<String> written = PeftTensorNames.written(points);
        C found = method.found(method.configType().cast(config), adapter);
        C own = method.respelled(found, points, UnaryOperator.identity(), written);
        Map<String, @Nullable Object> file = new LinkedHashMap<>(method.fileConfig(own, points));
        file.computeIfPresent("fan_in_fan_out", (key, none) -> points.transposed());
        if (file.get(PromptStarts.TEXT) != null) {
            file.put(TOKENIZER, baseModel);
        }
        file.put("auto_mapping", null);
        file.put("base_model_name_or_path", baseModel);
        file.put("inference_mode", true);
        if (!config.modulesToSave().isEmpty()) {
            file.put(
                    "modules_to_save",
                    config.modulesToSave().stream().map(written).toList());
        } else if (method.peftSavesModules()) {
            file.put("modules_to_save", null);
        }
        file.put("peft_type", method.peftType());
        file.put("revision", null);
        file.put("task_type", taskType);
        List<TensorData> tensors = new ArrayList<>();
        for (TensorData data : method.fileTensors(own, adapter).values()) {
            tensors.add(named(PeftTensorNames.written(data.name(), points), data));
        }
        List<Loaded> inside = method.inside(adapter);
        for (int i = 0; i < inside.size(); i++) {
            Loaded one = inside.get(i);
            write(AdapterFiles.inside(directory, i), one.adapter(), one.config(), points, baseModel, taskType);
        }
        AdapterFiles.write(directory, file, tensors);
    }

    private static TensorData named(String name, TensorData data) {
        return new TensorData(name, data.dtype(), data.shape(), data.bytes());
    }

    /** Loads an adapter under a name. */
    public static Loaded read(Path directory, String name, Points points) throws IOException {
        return read(AdapterFiles.read(directory), name, points);
    }

    /** As {@link #read(Path, String, Points)}, of files that were read already. */
    public static Loaded read(AdapterFile file, String name, Points points) throws IOException {
        return read(methodOf(file), file, name, points, null, true);
    }

    /** As {@link #read(AdapterFile, String, Points)}, of an adapter that another one is made of, which may bring what this one lacks. */
    public static Loaded readPart(AdapterFile file, String name, Points points) throws IOException {
        return read(methodOf(file), file, name, points, null, false);
    }

    /** As {@link #read(AdapterFile, String, Points)}, for a run that chooses anew what it may; null chooses nothing. */
    public static Loaded read(AdapterFile file, String name, Points points, @Nullable MethodConfig wanted)
            throws IOException {
        return read(methodOf(file), file, name, points, wanted, true);
    }

    private static Method<?> methodOf(AdapterFile file) throws MalformedFileException {
        try {
            return Methods.ofPeftType(String.valueOf(file.config().get("peft_type")));
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(
                    file.directory().resolve(AdapterFiles.CONFIG), -1, String.valueOf(e.getMessage()));
        }
    }

    /** @param alone whether it has to bring what the model lacks */
    private static <C extends MethodConfig> Loaded read(
            Method<C> method,
            AdapterFile file,
            String name,
            Points points,
            @Nullable MethodConfig wanted,
            boolean alone)
            throws IOException {
        List<String> notes =
                new ArrayList<>(method.keys().check(file.directory().resolve(AdapterFiles.CONFIG), file.config()));
        if (file.directory().endsWith(AtomicFileSets.COMPLETE)) {
            notes.add("the adapter is that of a save that was interrupted when it was whole already, in "
                    + file.directory() + "; the next run there puts it in its place");
        }
        C read = method.readConfig(file);
        for (String module : alone ? points.fresh() : List.<String>of()) {
            if (file.tensors().keySet().stream().noneMatch(key -> key.contains(module + "."))) {
                throw PeftTensors.malformed(
                        file,
                        "the model directory has no " + module + " and the adapter brings none;"
                                + " it was made for another model directory");
            }
        }
        try {
            UnaryOperator<String> spelling = PeftTensorNames.spelling(file, PeftKeys.MODEL, points);
            C spelled = method.respelled(read, points, spelling, UnaryOperator.identity());
            C config = method.configType().isInstance(wanted)
                    ? method.goingOn(spelled, method.configType().cast(wanted), notes)
                    : spelled;
            ReplicatedLayers.check(config, points);
            return new Loaded(method.read(name, config, file, points, notes), config, notes);
        } catch (IllegalArgumentException | ConfigException e) { // settings that only the model shows to be wrong
            throw new PeftConfigReader(file).wrong(e);
        }
    }
}
