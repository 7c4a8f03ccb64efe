package org.peft4j.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorSource;

/**
 * Adapter directories as Hugging Face PEFT has them: {@code adapter_config.json} and {@code adapter_model.safetensors}.
 * What is written here PEFT reads, and with the same values the files are the same, byte for byte.
 */
public final class AdapterFiles {
    /** The settings; {@code peft_type} in it names the method. */
    public static final String CONFIG = "adapter_config.json";

    /** The trained tensors. */
    public static final String TENSORS = "adapter_model.safetensors";

    /** Adapters by name, in the settings of one that is made of them. */
    public static final String INSIDE = "adapters";

    private static final String PICKLE = "adapter_model.bin";
    private static final String PEFT_TYPE = "peft_type";

    private AdapterFiles() {}

    /**
     * Loads an adapter.
     *
     * @throws MalformedFileException if a file is missing, is a pickle file, or is not what its format says
     */
    public static AdapterFile read(Path directory) throws IOException {
        while (true) {
            Path place = AtomicFileSets.current(directory);
            try {
                return readFrom(place);
            } catch (IOException | MalformedFileException e) {
                if (place.equals(AtomicFileSets.current(directory))) {
                    throw e;
                } // else a save was put in its places meanwhile
            }
        }
    }

    private static AdapterFile readFrom(Path dir) throws IOException {
        AdapterFile one = readOne(dir);
        return new AdapterFile(dir, one.config(), one.tensors(), inside(dir, one.config()));
    }

    private static AdapterFile readOne(Path dir) throws IOException {
        checkPresent(dir);
        Map<String, @Nullable Object> config = Json.readObject(dir.resolve(CONFIG));
        if (!isText(config.get(PEFT_TYPE))) {
            throw new MalformedFileException(
                    dir.resolve(CONFIG),
                    -1,
                    PEFT_TYPE + " must name the adapter's method, such as \"LORA\", got " + config.get(PEFT_TYPE));
        }
        return new AdapterFile(dir, config, SafeTensors.read(dir.resolve(TENSORS)));
    }

    /**
     * Those that the config tells of by numbers, as X-LoRA's does: at the places that it names, or in folders 0, 1, … of the
     * directory, where a place is not to be found. PEFT itself goes by the places, and what it writes into the folders is no adapter.
     */
    private static List<AdapterFile> inside(Path dir, Map<String, @Nullable Object> config) throws IOException {
        List<AdapterFile> inside = new ArrayList<>();
        if (config.get(INSIDE) instanceof Map<?, ?> adapters) {
            for (int i = 0; i < adapters.size(); i++) {
                if (!(adapters.get(String.valueOf(i)) instanceof String place)) {
                    return List.of(); // who reads the settings says what is wrong
                }
                inside.add(readOne(AtomicFileSets.current(placeOf(dir, i, place))));
            }
        }
        return List.copyOf(inside);
    }

    private static Path placeOf(Path dir, int number, String place) throws MalformedFileException {
        Path folder = inside(dir, number);
        try {
            for (Path found : List.of(dir.resolve(place), Path.of(place), folder)) {
                if (Files.isDirectory(found) && !found.equals(dir)) {
                    return found;
                }
            }
        } catch (InvalidPathException e) {
            if (Files.isDirectory(folder)) {
                return folder;
            }
        }
        throw new MalformedFileException(
                dir,
                -1,
                "the adapter is made of others, of which number " + number + " is missing: its config names " + place
                        + ", which is no directory, and there is no folder " + number
                        + " here; copy that adapter into " + folder);
    }

    /** The folders of this directory that its adapter's config names as the places of those that it is made of. */
    public static List<Path> foldersInside(Path dir) throws IOException {
        List<Path> folders = new ArrayList<>();
        try {
            if (Files.isRegularFile(dir.resolve(CONFIG))
                    && Json.readObject(dir.resolve(CONFIG)).get(INSIDE) instanceof Map<?, ?> adapters) {
                for (int i = 0; String.valueOf(i).equals(adapters.get(String.valueOf(i))); i++) {
                    if (Files.isDirectory(inside(dir, i))) {
                        folders.add(inside(dir, i));
                    }
                }
            }
        } catch (MalformedFileException e) {
            return List.of(); // it tells of nothing
        }
        return folders;
    }

    /** The folder of an adapter that another one is made of. */
    public static Path inside(Path dir, int number) {
        return dir.resolve(String.valueOf(number));
    }

    /**
     * Saves an adapter into a directory, which is made if it is not there. Each file is replaced whole or not at all,
     * the tensors first: a directory that had no adapter is one as soon as its config appears.
     *
     * @throws IllegalArgumentException if the config has no {@code peft_type}, or values that JSON has not
     */
    public static void write(
            Path dir, Map<String, ? extends @Nullable Object> config, Collection<? extends TensorSource> tensors)
            throws IOException {
        if (!isText(config.get(PEFT_TYPE))) {
            throw new IllegalArgumentException(
                    "config must name the method under '" + PEFT_TYPE + "', got " + config.get(PEFT_TYPE));
        }
        String json = Json.write(config);
        Files.createDirectories(dir);
        SafeTensors.write(dir.resolve(TENSORS), Map.of("format", "pt"), tensors);
        AtomicFiles.writeString(dir.resolve(CONFIG), json);
    }

    private static void checkPresent(Path dir) throws MalformedFileException {
        List<String> missing = new ArrayList<>();
        for (String name : List.of(CONFIG, TENSORS)) {
            if (!Files.isRegularFile(dir.resolve(name))) {
                missing.add(name);
            }
        }
        if (missing.isEmpty()) {
            return;
        }
        if (missing.contains(TENSORS) && Files.exists(dir.resolve(PICKLE))) {
            throw new MalformedFileException(dir, -1, ForeignFormats.refusePickle(PICKLE));
        }
        throw new MalformedFileException(
                dir,
                -1,
                Files.isDirectory(dir)
                        ? "adapter directory must hold " + CONFIG + " and " + TENSORS + ", lacks "
                                + String.join(" and ", missing)
                                + Subfolders.hint(dir)
                        : "adapter must be a directory with " + CONFIG + " and " + TENSORS + ", this is "
                                + PathKinds.describe(dir));
    }

    private static boolean isText(@Nullable Object value) {
        return value instanceof String text && !text.isBlank();
    }
}
