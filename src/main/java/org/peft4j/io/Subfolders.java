package org.peft4j.io;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Models and adapters that lie deeper than the directory that somebody gave: {@code 0_Transformer/} of
 * sentence-transformers, {@code checkpoint-500/} of a trainer, {@code snapshots/…/} of a hub's cache, a folder named as the
 * adapter.
 */
final class Subfolders {
    private static final int DEPTH = 2;

    /** Entries of one directory that are looked at; a home directory may have any number. */
    private static final int MOST_ENTRIES = 1_000;

    private static final int SHOWN = 3;

    private Subfolders() {}

    /** The end of a message: {@code "; an adapter is in its subfolder reviews/"}, or nothing. */
    static String hint(Path directory) {
        List<String> models = new ArrayList<>();
        List<String> adapters = new ArrayList<>();
        look(directory, directory, DEPTH, models, adapters);
        return hint("a model", models) + hint("an adapter", adapters);
    }

    private static String hint(String what, List<String> folders) {
        if (folders.isEmpty()) {
            return "";
        }
        String names = folders.stream().sorted().limit(SHOWN).collect(Collectors.joining(" and "));
        return "; " + what + " is in its subfolder " + names + (folders.size() > SHOWN ? " and others" : "")
                + ": give that";
    }

    private static void look(Path root, Path directory, int depth, List<String> models, List<String> adapters) {
        List<Path> folders = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory)) {
            int seen = 0;
            for (Path entry : entries) {
                if (++seen > MOST_ENTRIES) {
                    break;
                }
                if (Files.isDirectory(entry)) {
                    folders.add(entry);
                }
            }
        } catch (IOException | DirectoryIteratorException e) {
            return; // only a hint: what it belongs to is told in any case
        }
        for (Path folder : folders) {
            String name = root.relativize(folder) + "/";
            if (Files.isRegularFile(folder.resolve(AdapterFiles.CONFIG))) {
                adapters.add(name);
            } else if (Files.isRegularFile(folder.resolve(ModelDirectory.CONFIG))) {
                models.add(name);
            } else if (depth > 1) {
                look(root, folder, depth - 1, models, adapters);
            }
        }
    }
}
