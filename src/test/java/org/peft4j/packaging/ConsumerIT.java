package org.peft4j.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarFile;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The packaged artifacts, used as a stranger uses them: src/test/consumer is resolved into an empty local repository and
 * run. The registry that it is resolved from is the local repository of this build, which has all of it: no network.
 */
class ConsumerIT {
    private static final String VERSION = System.getProperty("peft4j.version");
    private static final String PLATFORM = System.getProperty("peft4j.platform");
    private static final Path TARGET = Path.of("target").toAbsolutePath();
    private static final Path WORK = TARGET.resolve("consumer");
    private static final Path MAIN_JAR = TARGET.resolve("peft4j-" + VERSION + ".jar");
    private static final Path NATIVES_JAR = TARGET.resolve("peft4j-" + VERSION + "-" + PLATFORM + ".jar");

    private static final List<String> PROGRAM = List.of("steps 2", "labels [ham, spam]", "known true");

    private static List<String> classPath = List.of();
    private static int runs;

    private record Outcome(int status, String output) {}

    @BeforeAll
    static void resolve() throws Exception {
        deleteTree(WORK);
        copyTree(Path.of("src/test/consumer"), WORK.resolve("project"));
        Path repository = WORK.resolve("repository");
        Path ours = Files.createDirectories(repository.resolve("org/peft4j/peft4j/" + VERSION));
        Files.copy(Path.of("pom.xml"), ours.resolve("peft4j-" + VERSION + ".pom"));
        Files.copy(MAIN_JAR, ours.resolve(MAIN_JAR.getFileName()));
        Files.copy(NATIVES_JAR, ours.resolve(NATIVES_JAR.getFileName()));

        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("maven.home"), "bin", "mvn").toString(),
                "-B",
                "-q",
                "-s",
                settings().toString(),
                "-Dmaven.repo.local=" + repository,
                "-Dmdep.outputFile=classpath.txt"));
        Stream.of(
                        "peft4j.version",
                        "peft4j.platform",
                        "maven-compiler-plugin.version",
                        "maven-dependency-plugin.version",
                        "maven-resources-plugin.version")
                .map(name -> "-D" + name + "=" + System.getProperty(name))
                .forEach(command::add);
        command.addAll(List.of("compile", "dependency:build-classpath"));
        Outcome outcome = run(WORK.resolve("project"), command);
        assertThat(outcome.status()).as(outcome.output()).isZero();
        classPath = new ArrayList<>(List.of(
                Files.readString(WORK.resolve("project/classpath.txt")).trim().split(File.pathSeparator)));
        classPath.add(WORK.resolve("project/target/classes").toString());
    }

    private static Path settings() throws IOException {
        return Files.writeString(WORK.resolve("settings.xml"), """
                <settings>
                  <mirrors>
                    <mirror>
                      <id>this-build</id>
                      <mirrorOf>*</mirrorOf>
                      <url>%s</url>
                    </mirror>
                  </mirrors>
                </settings>
                """.formatted(
                        Path.of(System.getProperty("maven.repo")).toUri()));
    }

    static Stream<String> javas() throws IOException {
        return Stream.concat(Stream.of(System.getProperty("java.home")), laterJava().stream());
    }

    /** A Java that warns of native libraries, installed beside this one. */
    private static Optional<String> laterJava() throws IOException {
        Path parent = Path.of(System.getProperty("java.home")).toRealPath().getParent();
        try (Stream<Path> beside = Files.list(parent)) {
            return beside.filter(java -> release(java) >= 24)
                    .map(Path::toString)
                    .findFirst();
        }
    }

    private static int release(Path java) {
        Path file = java.resolve("release");
        try {
            Matcher version = Pattern.compile("JAVA_VERSION=\"(\\d+)").matcher(Files.readString(file));
            return version.find() ? Integer.parseInt(version.group(1)) : 0;
        } catch (IOException e) {
            return 0;
        }
    }

    /** Nothing but what the program prints: no warning of JavaCPP, SLF4J or Java. */
    @ParameterizedTest
    @MethodSource("javas")
    void mainJarAndClassifierJarMakeAWorkingProgram(String java) throws Exception {
        List<String> arguments = new ArrayList<>(List.of("-cp", String.join(File.pathSeparator, classPath)));
        arguments.add("consumer.Consumer");
        Outcome outcome = runJava(java, "ALL-UNNAMED", arguments, consumerArguments());

        assertThat(outcome.output().lines()).containsExactlyElementsOf(PROGRAM);
        assertThat(outcome.status()).isZero();
    }

    @ParameterizedTest
    @MethodSource("javas")
    void worksOnTheModulePathWithTheModulesThatTheReadmeNames(String java) throws Exception {
        Outcome outcome = runJava(
                java, nativeModules("README.md"), modulePath("-m", "consumer/consumer.Consumer"), consumerArguments());

        assertThat(outcome.output().lines()).containsExactlyElementsOf(PROGRAM);
        assertThat(outcome.status()).isZero();
    }

    @Test
    void commandLineWorksOnTheModulePath() throws Exception {
        Outcome outcome = runJava(
                System.getProperty("java.home"),
                "",
                modulePath("-m", "org.peft4j/org.peft4j.cli.Main"),
                List.of("info"));

        assertThat(outcome.status()).as(outcome.output()).isZero();
        assertThat(outcome.output())
                .containsPattern("version of peft4j +" + Pattern.quote(VERSION))
                .containsPattern("lora_linear +own");
    }

    private static List<String> consumerArguments() {
        Path fixtures = Path.of("src/test/resources/fixtures").toAbsolutePath();
        return List.of(
                fixtures.resolve("tiny-bert").toString(),
                fixtures.resolve("loss-parity/tiny/rows.jsonl").toString(),
                WORK.resolve("run-" + runs++).toString());
    }

    private static List<String> modulePath(String... main) {
        String platform = PLATFORM.replace('-', '.');
        List<String> arguments = new ArrayList<>(List.of(
                "-p",
                String.join(File.pathSeparator, classPath),
                "--add-modules",
                "org.peft4j.natives,org.bytedeco.javacpp." + platform + ",org.bytedeco.pytorch." + platform
                        + ",org.bytedeco.openblas." + platform));
        arguments.addAll(List.of(main));
        return arguments;
    }

    /** The modules of the README's command. */
    private static String nativeModules(String readme) throws IOException {
        Matcher modules =
                Pattern.compile("--enable-native-access=(org\\.\\S+)").matcher(Files.readString(Path.of(readme)));
        assertThat(modules.find()).isTrue();
        return modules.group(1);
    }

    private static Outcome runJava(String java, String nativeAccess, List<String> arguments, List<String> program)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(java, "bin", "java").toString());
        command.add("-Dpeft4j.cache=" + WORK.resolve("cache"));
        if (release(Path.of(java)) >= 22) {
            command.add("--enable-native-access=" + nativeAccess);
        }
        command.addAll(arguments);
        command.addAll(program);
        return run(WORK, command);
    }

    @Test
    void openblasOfOurChoiceReachesConsumers() {
        assertThat(classPath).anyMatch(jar -> jar.contains("openblas") && jar.endsWith(PLATFORM + ".jar"));
    }

    @Test
    void withoutNativesTheErrorNamesTheClassifierInOneLine() throws Exception {
        List<String> jars = classPath.stream()
                .filter(jar -> !jar.endsWith(NATIVES_JAR.getFileName().toString()))
                .toList();
        Outcome outcome = run(jars, "consumer.Consumer", consumerArguments());

        assertThat(outcome.status()).isNotZero();
        assertThat(outcome.output().lines())
                .anyMatch(line -> line.contains("org.peft4j:peft4j:") && line.contains("classifier " + PLATFORM));
    }

    @Test
    void mainJarHasNoNatives() throws IOException {
        try (JarFile jar = new JarFile(MAIN_JAR.toFile())) {
            assertThat(jar.stream().map(ZipEntry::getName)).noneMatch(name -> name.contains(".so"));
        }
    }

    @Test
    void classifierJarHasTheLayoutOfJavaCpp() throws IOException {
        try (JarFile jar = new JarFile(NATIVES_JAR.toFile())) {
            assertThat(jar.stream()
                            .map(ZipEntry::getName)
                            .filter(name -> !name.endsWith("/") && !name.startsWith("META-INF")))
                    .containsExactlyInAnyOrder(
                            "org/peft4j/" + PLATFORM + "/libpeft4j.so", "org/peft4j/" + PLATFORM + "/libjnipeft4j.so");
        }
    }

    @Test
    void gpuJarReplacesTheClassifierJarAndBringsTheCudaKernels() throws Exception {
        assumeTrue(Boolean.getBoolean("peft4j.gpuJar"), "built without -Pcuda");
        Path gpuJar = TARGET.resolve("peft4j-" + VERSION + "-" + PLATFORM + "-gpu.jar");
        List<String> jars = new ArrayList<>(classPath);
        jars.replaceAll(jar -> jar.endsWith(NATIVES_JAR.getFileName().toString()) ? gpuJar.toString() : jar);

        Outcome outcome = run(jars, "org.peft4j.cli.Main", List.of("info"));

        assertThat(outcome.status()).as(outcome.output()).isZero();
        assertThat(outcome.output())
                .containsPattern("CUDA kernels +libpeft4j_cuda.so is loaded")
                .containsPattern("CUDA +none: ") // with the first thing that is missing here
                .containsPattern("libtorch for CUDA +not here: .*classifier " + PLATFORM + "-gpu");
    }

    /**
     * JavaCPP extracts a library again only if its size or its time changed. The times in our jar are made from the
     * contents, see build-natives.sh.
     */
    @Test
    void rebuiltSnapshotIsPickedUp() throws IOException {
        try (JarFile jar = new JarFile(NATIVES_JAR.toFile())) {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            List<LocalDateTime> times = new ArrayList<>();
            for (String name : List.of("libjnipeft4j.so", "libpeft4j.so")) {
                ZipEntry entry = jar.getEntry("org/peft4j/" + PLATFORM + "/" + name);
                times.add(entry.getTimeLocal());
                try (InputStream bytes = jar.getInputStream(entry)) {
                    digest.update(bytes.readAllBytes());
                }
            }
            byte[] hash = digest.digest();
            long seconds = 1767225600L + 2 * ((hash[0] & 255L) << 16 | (hash[1] & 255L) << 8 | (hash[2] & 255L));
            assertThat(times).containsOnly(LocalDateTime.ofEpochSecond(seconds, 0, ZoneOffset.UTC));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    private static Outcome run(List<String> jars, String main, List<String> program)
            throws IOException, InterruptedException {
        return runJava(
                System.getProperty("java.home"),
                "ALL-UNNAMED",
                List.of("-cp", String.join(File.pathSeparator, jars), main),
                program);
    }

    private static Outcome run(Path directory, List<String> command) throws IOException, InterruptedException {
        Path output = Files.createTempFile(WORK, "output", ".txt");
        Process process = new ProcessBuilder(command)
                .directory(directory.toFile())
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        if (!process.waitFor(20, TimeUnit.MINUTES)) {
            process.destroyForcibly().waitFor();
        }
        return new Outcome(process.exitValue(), Files.readString(output, StandardCharsets.UTF_8));
    }

    private static void copyTree(Path from, Path to) throws IOException {
        try (Stream<Path> paths = Files.walk(from)) {
            for (Path path : paths.toList()) {
                Path copy = to.resolve(from.relativize(path));
                if (Files.isDirectory(path)) {
                    Files.createDirectories(copy);
                } else {
                    Files.copy(path, copy);
                }
            }
        }
    }

    private static void deleteTree(Path root) throws IOException {
        if (!Files.exists(root)) {
            return;
        }
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path folder, IOException e) throws IOException {
                Files.delete(folder);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}
