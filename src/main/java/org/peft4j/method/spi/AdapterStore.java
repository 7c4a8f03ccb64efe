package org.peft4j.method.spi;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.AtomicFileSets;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.PeftType;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/** Saves and loads adapters of any method in Hugging Face PEFT's format. */
public final class AdapterStore {
    private AdapterStore() {}

    /**
     * A loaded adapter.
     *
     * @param config its settings
     * @param notes what a user should know, such as targets that match nothing here
     */
    public record Loaded(Adapter adapter, MethodConfig config, List<String> notes) {}

    /**
     * Saves an adapter; each file is replaced whole or not at all.
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
        C own = method.configType().cast(config);
        Map<String, @Nullable Object> file = new LinkedHashMap<>(method.fileConfig(own, points));
        file.put("auto_mapping", null);
        file.put("base_model_name_or_path", baseModel);
        file.put("inference_mode", true);
        if (!config.modulesToSave().isEmpty()) {
            file.put("modules_to_save", config.modulesToSave());
        } else if (method.peftSavesModules()) {
            file.put("modules_to_save", null);
        }
        file.put("peft_type", method.type().fileName());
        file.put("revision", null);
        file.put("task_type", taskType);
        AdapterFiles.write(directory, file, method.fileTensors(own, adapter).values());
    }

    /** Loads an adapter under a name. */
    public static Loaded read(Path directory, String name, Points points) throws IOException {
        return read(AdapterFiles.read(directory), name, points);
    }

    /** As {@link #read(Path, String, Points)}, of files that were read already. */
    public static Loaded read(AdapterFile file, String name, Points points) throws IOException {
        PeftType type;
        try {
            type = PeftType.ofFileName(String.valueOf(file.config().get("peft_type")));
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(
                    file.directory().resolve(AdapterFiles.CONFIG), -1, String.valueOf(e.getMessage()));
        }
        return read(Methods.of(type), file, name, points);
    }

    private static <C extends MethodConfig> Loaded read(Method<C> method, AdapterFile file, String name, Points points)
            throws IOException {
        List<String> notes =
                new ArrayList<>(method.keys().check(file.directory().resolve(AdapterFiles.CONFIG), file.config()));
        if (file.directory().endsWith(AtomicFileSets.COMPLETE)) {
            notes.add("the adapter is that of a save that was interrupted when it was whole already, in "
                    + file.directory() + "; the next run there puts it in its place");
        }
        C config = method.readConfig(file);
        for (String module : points.fresh()) {
            if (file.tensors().keySet().stream().noneMatch(key -> key.contains(module + "."))) {
                throw FileTensors.malformed(
                        file,
                        "the model directory has no " + module + " and the adapter brings none;"
                                + " it was made for another model directory");
            }
        }
        try {
            return new Loaded(method.read(name, config, file, points, notes), config, notes);
        } catch (IllegalArgumentException | ConfigException e) { // settings that only the model shows to be wrong
            throw new FileConfig(file).wrong(e);
        }
    }
}
