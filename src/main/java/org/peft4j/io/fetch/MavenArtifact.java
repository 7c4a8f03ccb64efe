package org.peft4j.io.fetch;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * Gets a jar by running the {@code mvn} command, so that the user's settings, mirrors, proxies, credentials, local
 * repository and offline mode hold, and no repository's address stands in our code. Checksums are strict: a jar that
 * does not fit the repository's is refused.
 */
public final class MavenArtifact {
    /** Pinned, so that what runs does not change from day to day. */
    private static final String GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

    private static final Pattern COORDINATES = Pattern.compile("[\\w.-]+:[\\w.-]+:[\\w.-]+");
    private static final Pattern COLOURS = Pattern.compile("\u001b\\[[;\\d]*m");
    private static final int ERROR_LINES = 12;

    private final String command;
    private final String coordinates;

    /**
     * Nothing happens yet.
     *
     * @param coordinates {@code group:artifact:version} of a jar
     */
    public MavenArtifact(String coordinates) {
        this(System.getProperty("os.name").startsWith("Windows") ? "mvn.cmd" : "mvn", coordinates);
    }

    /** With another command than {@code mvn}, for tests. */
    MavenArtifact(String command, String coordinates) {
        if (!COORDINATES.matcher(coordinates).matches()) {
            throw new IllegalArgumentException("coordinates must be group:artifact:version, got '" + coordinates + "'");
        }
        this.command = command;
        this.coordinates = coordinates;
    }

    /**
     * Copies the jar into a directory, downloading it if the local repository lacks it.
     *
     * @param progress gets Maven's lines about downloads
     * @throws IOException if there is no {@code mvn}, or it failed; says how to get the jar by hand
     */
    public Path copyTo(Path directory, Consumer<String> progress) throws IOException {
        String[] parts = coordinates.split(":", -1);
        Path jar = directory.resolve(parts[1] + "-" + parts[2] + ".jar");
        run(directory, progress);
        if (!Files.isRegularFile(jar)) {
            throw new IOException("mvn succeeded but did not write " + jar.getFileName() + "; " + byHand());
        }
        return jar;
    }

    private void run(Path directory, Consumer<String> progress) throws IOException {
        Process process;
        try {
            process = new ProcessBuilder(arguments(directory.toAbsolutePath().toString()))
                    .directory(directory.toFile()) // not the user's, whose POM would be loaded
                    .redirectErrorStream(true)
                    .start();
        } catch (IOException e) {
            throw new IOException("Maven could not be started (" + e.getMessage() + "); install it, or " + byHand(), e);
        }
        try {
            process.getOutputStream().close();
            Deque<String> errors = drain(process, progress);
            int status = process.waitFor();
            if (status != 0) {
                throw new IOException("mvn could not get " + coordinates + " (exit status " + status + "):\n"
                        + String.join("\n", errors) + "\n" + byHand());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            InterruptedIOException interrupted = new InterruptedIOException("interrupted while mvn was running");
            interrupted.initCause(e);
            throw interrupted;
        } finally {
            process.destroy();
        }
    }

    /** Reads all output (a full pipe would stop Maven for ever) and keeps the last lines that tell of errors. */
    private static Deque<String> drain(Process process, Consumer<String> progress) throws IOException {
        Deque<String> errors = new ArrayDeque<>();
        Deque<String> last = new ArrayDeque<>();
        try (BufferedReader lines = process.inputReader(Charset.defaultCharset())) {
            for (String raw = lines.readLine(); raw != null; raw = lines.readLine()) {
                String line = COLOURS.matcher(raw).replaceAll("");
                if (line.startsWith("[INFO] Download")) {
                    progress.accept(line.substring("[INFO] ".length()));
                }
                keep(last, line);
                if (line.startsWith("[ERROR]") && !line.equals("[ERROR] ")) {
                    keep(errors, line);
                }
            }
        }
        return errors.isEmpty() ? last : errors;
    }

    private static void keep(Deque<String> lines, String line) {
        lines.addLast(line);
        if (lines.size() > ERROR_LINES) {
            lines.removeFirst();
        }
    }

    private List<String> arguments(String directory) {
        return new ArrayList<>(
                List.of(command, "-B", "-C", GOAL, "-Dartifact=" + coordinates, "-DoutputDirectory=" + directory));
    }

    private String byHand() {
        return "get the jar where Maven works and give it with --jar FILE: " + String.join(" ", arguments("."));
    }
}
