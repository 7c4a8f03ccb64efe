package org.peft4j.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.SafeTensorsFile;
import org.peft4j.io.safetensors.TensorInfo;
import org.peft4j.io.safetensors.TensorLocation;
import org.peft4j.io.safetensors.TensorNames;

/**
 * Finds a model's tensors: in {@code model.safetensors}, or else through the {@code weight_map} of
 * {@code model.safetensors.index.json}, which gives for each tensor the name of its shard. A tensor that is in a shard
 * but not in the map does not count.
 */
final class WeightFiles {
    private static final String SINGLE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";

    private WeightFiles() {}

    /** The tensors under their names in the model. */
    static Map<String, TensorLocation> find(Path dir) throws IOException {
        if (Files.exists(dir.resolve(SINGLE))) {
            return plain(dir.resolve(SINGLE), single(dir.resolve(SINGLE)));
        }
        if (Files.exists(dir.resolve(INDEX))) {
            return plain(dir.resolve(INDEX), sharded(dir, dir.resolve(INDEX)));
        }
        Optional<String> pickle = pickle(dir);
        throw new MalformedFileException(
                dir,
                -1,
                pickle.isPresent()
                        ? ForeignFormats.refusePickle(pickle.get())
                        : "model directory lacks its weights: " + SINGLE + ", or " + INDEX + " with shards"
                                + Subfolders.hint(dir));
    }

    private static Map<String, TensorLocation> plain(Path file, Map<String, TensorLocation> tensors)
            throws MalformedFileException {
        return Collections.unmodifiableMap(TensorNames.renamed(file, tensors, TensorNames::plain));
    }

    private static Map<String, TensorLocation> single(Path file) throws IOException {
        Map<String, TensorLocation> tensors = new LinkedHashMap<>();
        SafeTensors.open(file).tensors().forEach((name, info) -> tensors.put(name, new TensorLocation(file, info)));
        return tensors;
    }

    private static Map<String, TensorLocation> sharded(Path dir, Path index) throws IOException {
        if (!(Json.readObject(index).get("weight_map") instanceof Map<?, ?> weightMap) || weightMap.isEmpty()) {
            throw new MalformedFileException(index, -1, "weight_map must be an object that gives each tensor's shard");
        }
        Map<String, SafeTensorsFile> shards = new HashMap<>();
        Map<String, TensorLocation> tensors = new LinkedHashMap<>();
        for (Map.Entry<?, ?> entry : weightMap.entrySet()) {
            String tensor = (String) entry.getKey();
            String name = checkShardName(index, tensor, entry.getValue());
            SafeTensorsFile shard = shards.get(name);
            if (shard == null) {
                shard = openShard(dir, index, name);
                shards.put(name, shard);
            }
            TensorInfo info = shard.tensors().get(tensor);
            if (info == null) {
                throw new MalformedFileException(
                        index, -1, "tensor '" + tensor + "' must be in shard '" + name + "', which does not have it");
            }
            tensors.put(tensor, new TensorLocation(shard.path(), info));
        }
        return tensors;
    }

    private static SafeTensorsFile openShard(Path dir, Path index, String name) throws IOException {
        Path file;
        try {
            file = dir.resolve(name);
        } catch (InvalidPathException e) {
            throw new MalformedFileException(index, -1, "shard '" + name + "' is no file name on this system", e);
        }
        if (!Files.exists(file)) {
            throw new MalformedFileException(
                    index, -1, "shard '" + name + "' is not in the directory; the download is not complete");
        }
        return SafeTensors.open(file);
    }

    /** A shard is one path element, so that an index cannot make us read files elsewhere. */
    private static String checkShardName(Path index, String tensor, @Nullable Object shard)
            throws MalformedFileException {
        if (!(shard instanceof String name)) {
            throw new MalformedFileException(
                    index, -1, "weight_map['" + tensor + "'] must be the name of a shard, got " + shard);
        }
        if (ForeignFormats.isPickleName(name)) {
            throw new MalformedFileException(index, -1, ForeignFormats.refusePickle(name));
        }
        boolean oneElement = name.chars().noneMatch(c -> c == '/' || c == '\\' || c == ':' || c < ' ');
        if (!oneElement || !name.endsWith(".safetensors")) {
            throw new MalformedFileException(
                    index,
                    -1,
                    "shard of tensor '" + tensor + "' must be the name of a"
                            + " .safetensors file in the same directory, without separators or '..', got '" + name
                            + "'");
        }
        return name;
    }

    private static Optional<String> pickle(Path dir) throws IOException {
        try (Stream<Path> files = Files.list(dir)) {
            return files.map(file -> file.getFileName().toString())
                    .filter(ForeignFormats::isPickleName)
                    .sorted()
                    .findFirst();
        }
    }
}
