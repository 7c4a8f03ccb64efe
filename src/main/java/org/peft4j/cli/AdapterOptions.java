package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.peft4j.BaseModel;
import org.peft4j.Composition;
import org.peft4j.LoadedAdapter;
import org.peft4j.error.ConfigException;
import picocli.CommandLine.Option;

/** Which adapter a command uses, or which together. */
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class AdapterOptions {
    @Option(
            names = "--adapter",
            paramLabel = "DIR",
            description = "The adapter's directory: a run's output, or one that Hugging Face PEFT wrote. Without it the"
                    + " model is used as it is; to predict it has to be a classifier itself. With --compose NAME=DIR, once"
                    + " for each adapter.")
    private List<Path> given = List.of();

    @Option(
            names = "--compose",
            paramLabel = "TREE",
            description =
                    "How the adapters act together: Stack(lang, task), Average(a, b; 0.3, 0.7), Split(a, b; 64, 64)"
                            + " (tokens of each text), BatchSplit(a, b; 100, 50) (rows of the file), Parallel(a, b) (each answers every"
                            + " row: columns a.label, b.label), and trees of them; or the JSON of AdapterHub's adapter_setup.json.")
    private @Nullable String compose;

    @Option(
            names = "--head-of",
            paramLabel = "NAME",
            description =
                    "Whose task, head and labels count in an Average or a Split (default: those of the last one; heads"
                            + " that differ need it).")
    private List<String> headOf = List.of();

    private Map<String, Path> directories = Map.of();
    private @Nullable Composition composition;

    /** Looks at what was given, before anything is opened. */
    void check() {
        Map<String, Path> found = new LinkedHashMap<>();
        if (compose == null) {
            if (given.size() > 1) {
                throw new ConfigException(
                        "--adapter is given " + given.size() + " times, but without --compose there is"
                                + " one; say how they act together: --compose 'Stack(a, b)' --adapter a=DIR --adapter b=DIR");
            }
            if (!headOf.isEmpty()) {
                throw new ConfigException("--head-of goes with --compose, which is not given; leave it out");
            }
            given.forEach(directory -> found.put("", directory));
        } else {
            composition =
                    compose.strip().startsWith("{") ? Composition.ofSetupJson(compose) : Composition.parse(compose);
            for (Path path : given) {
                String one = path.toString();
                int equals = one.indexOf('=');
                if (equals < 1 || equals == one.length() - 1) {
                    throw new ConfigException("with --compose an adapter is --adapter NAME=DIR, got '" + one + "'");
                }
                String name = one.substring(0, equals);
                if (!composition.names().contains(name) && !composition.fuses()) {
                    throw withoutPlace(name, composition);
                }
                if (found.put(name, Path.of(one.substring(equals + 1))) != null) {
                    throw new ConfigException("--adapter " + name + " is given twice; give each name once");
                }
            }
            for (String name : composition.names()) {
                if (!found.containsKey(name)) {
                    throw new ConfigException(
                            "--compose " + composition + " has '" + name + "': give --adapter " + name + "=DIR, too");
                }
            }
        }
        for (Path directory : found.values()) {
            Inputs.exists(directory, "--adapter");
        }
        directories = found;
    }

    /** The directory of one of them, if there is any. */
    @Nullable
    Path first() {
        return directories.isEmpty() ? null : directories.values().iterator().next();
    }

    /**
     * Loads what was given.
     *
     * @param options of what gives the rows their task; the other adapters are loaded for what they were trained for
     * @param notes hears what the user should know
     */
    Opened load(BaseModel base, LoadedAdapter.Options options, Consumer<String> notes) throws IOException {
        Path single = first();
        if (composition == null) {
            return Opened.of(
                    base, single == null ? base.plain(options) : base.load("--adapter", single, options), notes);
        }
        Set<String> heads = headOf.isEmpty() || composition.dividesRows() ? composition.heads() : Set.copyOf(headOf);
        Map<String, LoadedAdapter> parts = new LinkedHashMap<>();
        for (Map.Entry<String, Path> one : directories.entrySet()) {
            String name = one.getKey();
            boolean fusion =
                    !composition.names().contains(name); // a Fuse has the head of the fusion beside its adapters
            boolean head = fusion || heads.contains(name) || headOf.contains(name);
            LoadedAdapter part = base.load(name, one.getValue(), head ? options : LoadedAdapter.Options.defaults());
            part.notes().forEach(note -> notes.accept(name + ": " + note));
            parts.put(name, part);
        }
        Set<String> taken = base.partsOf(composition, parts);
        for (String name : parts.keySet()) {
            if (!taken.contains(name)) {
                throw withoutPlace(name, composition);
            }
        }
        String[] named = headOf.toArray(String[]::new);
        return composition.dividesRows()
                ? Opened.of(base, base.composeRows("--compose", composition, parts, named), notes)
                : Opened.of(base, base.compose("--compose", composition, parts, named), notes);
    }

    private static ConfigException withoutPlace(String name, Composition composition) {
        return new ConfigException(
                "--adapter " + name + " has no place in --compose " + composition + "; leave it out");
    }
}
