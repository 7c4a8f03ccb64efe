package org.peft4j.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;

/** target/peft4j: its licences, and its launcher in environments that people have. */
class DistributionIT {
    private static final String VERSION = System.getProperty("peft4j.version");
    private static final String PLATFORM = System.getProperty("peft4j.platform");
    private static final Path HOME = Path.of("target/peft4j").toAbsolutePath();
    private static final Path LICENCES = HOME.resolve("licences");

    @TempDir
    Path directory;

    @Test
    void everyJarOfOursHasLicenceAndNotice() throws IOException {
        for (String classifier : List.of("", "-" + PLATFORM, "-sources", "-javadoc")) {
            Path path = Path.of("target/peft4j-" + VERSION + classifier + ".jar");
            if (Files.exists(path)) { // sources and documentation may be left out of a build
                try (JarFile jar = new JarFile(path.toFile())) {
                    assertThat(jar.stream().map(JarEntry::getName))
                            .as(path.toString())
                            .contains("META-INF/LICENSE", "META-INF/NOTICE");
                }
            }
        }
    }

    /** A jar's licence is Apache-2.0, whose text is ours, or its text is in the jar or in a file of its name. */
    @Test
    void everyJarHasItsLicencesText() throws IOException {
        List<String> listed = Files.readAllLines(LICENCES.resolve("THIRD-PARTY.txt"));
        for (Path path : jars()) {
            String name = path.getFileName().toString();
            if (name.startsWith("peft4j-")) {
                continue;
            }
            String artifact = name.replaceFirst("-\\d.*", "");
            List<String> lines = listed.stream()
                    .filter(line -> line.contains(":" + artifact + ":"))
                    .toList();
            assertThat(lines).as("lines of THIRD-PARTY.txt for " + name).isNotEmpty();
            try (JarFile jar = new JarFile(path.toFile())) {
                boolean inTheJar =
                        jar.stream().anyMatch(entry -> entry.getName().matches("META-INF/LICENSE(\\..*)?"));
                assertThat(inTheJar
                                || lines.stream().allMatch(line -> line.contains("(Apache-2.0)"))
                                || Files.exists(LICENCES.resolve(artifact + ".txt")))
                        .as("the text of the licence of " + name)
                        .isTrue();
            }
        }
    }

    /** A native library that a new version of a dependency brings has to get a line. */
    @Test
    void everyNativeLibraryIsNamed() throws IOException {
        String natives = Files.readString(LICENCES.resolve("NATIVES.md"));
        List<String> found = new ArrayList<>();
        for (Path path : jars()) {
            try (JarFile jar = new JarFile(path.toFile())) {
                jar.stream()
                        .map(JarEntry::getName)
                        .filter(name -> name.matches(".*\\.so(\\.\\d+)*"))
                        .forEach(name -> found.add(name.substring(name.lastIndexOf('/') + 1)));
            }
        }
        assertThat(found)
                .contains("libpeft4j.so", "libtorch_cpu.so")
                .allSatisfy(name -> assertThat(natives).contains(name));
        for (String text :
                List.of("libtorch.txt", "openblas.txt", "GPL-3.0.txt", "GCC-exception-3.1.txt", "LGPL-2.1.txt")) {
            assertThat(natives).contains(text);
            assertThat(LICENCES.resolve(text)).isNotEmptyFile();
        }
    }

    private static List<Path> jars() throws IOException {
        try (Stream<Path> files = Files.list(HOME.resolve("lib"))) {
            return files.sorted().toList();
        }
    }

    /** Case: a directory with letters that ASCII lacks, in the locales in which Java could not open it. */
    @Test
    void otherLettersInAPathWorkInThePlainLocale() throws Exception {
        Path model = directory.resolve("модель é");
        for (String locale : List.of("C", "POSIX", "xx_XX.UTF-8", "")) {
            // A missing directory is told by name, whole: the name arrived.
            String output = peft4j(Map.of("LC_ALL", locale), "methods", "--model", model.toString());
            assertThat(output).as("LC_ALL=" + locale).contains("модель é");
        }
    }

    @Test
    void tildeInAnOptionIsTheHomeDirectory() throws Exception {
        assertThat(peft4j(Map.of("HOME", directory.toString()), "methods", "--model=~/none"))
                .contains(directory.resolve("none").toString());
        assertThat(peft4j(Map.of(), "methods", "--model=~bob/none")).contains("--model", "~bob/none", "whole path");
    }

    /** Java's own first file would take its number. */
    @Test
    void closedStandardInputIsAnEmptyOne() throws Exception {
        String program = HOME.resolve("bin/peft4j").toString();
        assertThat(run(
                        Map.of(),
                        List.of(
                                "sh",
                                "-c",
                                "exec \"$0\" evaluate --model \"$1\" --data - <&-",
                                program,
                                Fixtures.TINY_BERT.toAbsolutePath().toString())))
                .contains("standard input", "no row");
    }

    /** Whoever may write where libraries are loaded from decides what is run. */
    @Test
    void aCacheThatOthersCanWriteIsRefused() throws Exception {
        Path shared = Files.createDirectory(directory.resolve("shared"));
        Files.setPosixFilePermissions(shared, PosixFilePermissions.fromString("rwxrwxrwx"));

        assertThat(peft4j(Map.of("PEFT4J_CACHE", shared.toString()), "info"))
                .contains("C library", "glibc")
                .contains("peft4j: PEFT4J_CACHE: " + shared + " can be written by others");
    }

    private String peft4j(Map<String, String> environment, String... arguments) throws Exception {
        List<String> command =
                new ArrayList<>(List.of(HOME.resolve("bin/peft4j").toString()));
        command.addAll(List.of(arguments));
        return run(environment, command);
    }

    /** What a command prints that ends with status 2. */
    private String run(Map<String, String> environment, List<String> command) throws Exception {
        Path output = directory.resolve("output");
        ProcessBuilder builder = new ProcessBuilder(command)
                .directory(directory.toFile())
                .redirectErrorStream(true)
                .redirectOutput(output.toFile());
        builder.environment().keySet().removeIf(name -> name.startsWith("LC_") || name.equals("LANG"));
        builder.environment().putAll(environment);
        Process process = builder.start();
        assertThat(process.waitFor(2, TimeUnit.MINUTES)).isTrue();
        assertThat(process.exitValue()).isEqualTo(2);
        return Files.readString(output, StandardCharsets.UTF_8);
    }
}
