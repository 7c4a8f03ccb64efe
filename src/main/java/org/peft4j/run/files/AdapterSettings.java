package org.peft4j.run.files;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.ProblemType;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.data.Labels;
import org.peft4j.data.template.ChatTemplates;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AtomicFileSets;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Json;
import org.peft4j.io.NearestName;
import org.peft4j.run.RunConfigFile;

/**
 * {@code peft4j.json} beside an adapter: what is needed to use it and what PEFT's files do not say. The settings are
 * defaults, the caller's override them. We are its only writer and reader, so an unknown key is refused.
 *
 * <p>Earlier versions wrote the settings of sequence classification beside the task's name instead of in it; those files are
 * read, too.
 *
 * @param task what the adapter was trained to do: labels in the order of the outputs, columns, length
 * @param baseHash {@link org.peft4j.io.BaseHash} of the model that it was trained on; null in files of earlier versions
 * @param under the frozen adapters that it was trained on top of, the first undermost; empty: the model alone
 */
public record AdapterSettings(TaskConfig task, @Nullable String baseHash, List<Under> under) {
    /**
     * A frozen adapter that another one was trained on top of.
     *
     * @param adapter its directory, as the run was told it
     * @param sha256 {@link org.peft4j.io.AdapterHash} of it
     */
    public record Under(String adapter, String sha256) {}

    public AdapterSettings {
        under = List.copyOf(under);
    }

    /** Of an adapter that was trained on the model alone. */
    public AdapterSettings(TaskConfig task, @Nullable String baseHash) {
        this(task, baseHash, List.of());
    }

    public static final String FILE = "peft4j.json";

    /** The chat template that a language model's rows were rendered with, beside it. */
    static final String TEMPLATE = ChatTemplates.FILE;

    private static final String DIGITS = "[0-9a-f]{64}";
    private static final String TASK = "task";
    private static final String HASH = "base_sha256";
    private static final String UNDER = "frozen_adapters";
    private static final String ADAPTER = "adapter";
    private static final String ADAPTER_HASH = "sha256";
    private static final Set<String> KEYS = Set.of(TASK, HASH, UNDER);
    private static final Set<String> EARLIER_KEYS = Set.of(TASK, "labels", "max_length", "text", "label", HASH);

    public void write(Path adapter) throws IOException {
        Map<String, @Nullable Object> settings = new LinkedHashMap<>(RunConfigFile.taskMap(task));
        settings.values().removeIf(Objects::isNull);
        Map<String, @Nullable Object> map = new LinkedHashMap<>();
        map.put(TASK, settings);
        if (baseHash != null) {
            map.put(HASH, baseHash);
        }
        if (!under.isEmpty()) {
            map.put(
                    UNDER,
                    under.stream()
                            .map(one -> Map.of(ADAPTER, one.adapter(), ADAPTER_HASH, one.sha256()))
                            .toList());
        }
        AtomicFiles.writeString(adapter.resolve(FILE), Json.write(map));
    }

    /** Copies what stands beside an adapter, the chat template too, for one that is made of it. */
    public static void copy(Path adapter, Path to) throws IOException {
        Path from = AtomicFileSets.current(adapter);
        for (String name : List.of(FILE, TEMPLATE)) {
            if (Files.isRegularFile(from.resolve(name))) {
                Files.copy(from.resolve(name), to.resolve(name));
            }
        }
    }

    public static Optional<AdapterSettings> read(Path adapter) throws IOException {
        Path file = AtomicFileSets.current(adapter).resolve(FILE);
        if (!Files.exists(file)) {
            return Optional.empty();
        }
        Map<String, @Nullable Object> map = Json.readObject(file);
        boolean earlier = !(map.get(TASK) instanceof Map);
        Set<String> keys = earlier ? EARLIER_KEYS : KEYS;
        for (String key : map.keySet()) {
            if (!keys.contains(key)) {
                throw wrong(
                        file,
                        "unknown key '" + key + "'" + NearestName.hint(key, keys)
                                + "; is it written by a newer peft4j?");
            }
        }
        Map<String, @Nullable Object> settings = earlier ? earlier(file, map) : ofTask(map);
        return Optional.of(
                new AdapterSettings(task(file, settings), hash(file, map.get(HASH)), under(file, map.get(UNDER))));
    }

    private static List<Under> under(Path file, @Nullable Object value) {
        List<Under> found = new ArrayList<>();
        boolean good = value == null || value instanceof List<?>;
        for (Object item : value instanceof List<?> list ? list : List.of()) {
            if (item instanceof Map<?, ?> map
                    && map.size() == 2
                    && map.get(ADAPTER) instanceof String adapter
                    && map.get(ADAPTER_HASH) instanceof String hash
                    && hash.matches(DIGITS)) {
                found.add(new Under(adapter, hash));
            } else {
                good = false;
            }
        }
        if (!good) {
            throw wrong(
                    file,
                    UNDER + " must be a list of {" + ADAPTER + ": a directory, " + ADAPTER_HASH
                            + ": 64 hexadecimal digits}, got " + Json.shown(value));
        }
        return found;
    }

    private static Map<String, @Nullable Object> ofTask(Map<String, @Nullable Object> map) {
        Map<String, @Nullable Object> settings = new LinkedHashMap<>();
        ((Map<?, ?>) Objects.requireNonNull(map.get(TASK)))
                .forEach((key, value) -> settings.put(String.valueOf(key), value));
        return settings;
    }

    private static Map<String, @Nullable Object> earlier(Path file, Map<String, @Nullable Object> map) {
        Map<String, @Nullable Object> settings = new LinkedHashMap<>(map);
        settings.remove(HASH);
        Object task = settings.remove(TASK);
        if (map.containsKey(TASK) && !SequenceClassificationConfig.TYPE.equals(task)) {
            throw wrong(
                    file,
                    "task must be " + SequenceClassificationConfig.TYPE + ", or an object with type and settings, got "
                            + Json.shown(task));
        }
        settings.put("type", SequenceClassificationConfig.TYPE);
        return settings;
    }

    /** The checks that JSON needs and a run file, which people write, does not: nothing is missing, nothing is a text that is a number. */
    private static TaskConfig task(Path file, Map<String, @Nullable Object> settings) {
        Object maxLength = settings.get("max_length");
        if (!(maxLength instanceof Integer)) {
            throw wrong(
                    file,
                    "max_length must be a whole number from 1 to " + (1 << 24) + ", got " + Json.shown(maxLength));
        }
        Object labels = settings.get("labels");
        if (labels instanceof List<?> list) {
            for (Object item : list) {
                if (!(item instanceof String || item instanceof Integer)) {
                    throw wrong(file, "labels must be a list of names, got " + item + " in it");
                }
            }
        }
        try {
            TaskConfig task = RunConfigFile.task(settings, FILE);
            if (task instanceof SequenceClassificationConfig classes
                    && (classes.problem() == null || classes.problem() == ProblemType.SINGLE_LABEL)) {
                Labels.of(classes.labels());
            }
            return task;
        } catch (ConfigException e) {
            throw new MalformedFileException(
                    file, -1, String.valueOf(e.getMessage()).replace(" (" + FILE + ")", ""), e);
        }
    }

    private static @Nullable String hash(Path file, @Nullable Object value) {
        if (value != null && !(value instanceof String text && text.matches(DIGITS))) {
            throw wrong(file, "base_sha256 must be 64 hexadecimal digits, got " + value);
        }
        return (String) value;
    }

    private static MalformedFileException wrong(Path file, String reason) {
        return new MalformedFileException(file, -1, reason);
    }

    /**
     * The task, for those who can do this one only.
     *
     * @throws ConfigException if the adapter was trained for another one
     */
    public SequenceClassificationConfig classification() {
        if (task instanceof SequenceClassificationConfig classes) {
            return classes;
        }
        throw new ConfigException("the adapter was trained for the task " + task.type() + ", not for "
                + SequenceClassificationConfig.TYPE);
    }

    /** A sentence for the user who has the adapter alone, where it was trained on top of others. */
    public Optional<String> trainedOnTop() {
        return under.isEmpty()
                ? Optional.empty()
                : Optional.of("the adapter was trained on top of " + names()
                        + ": it is made for a stack on them, or on others of their kind (--adapter under=… --adapter task=…"
                        + " --compose 'Stack(under, task)'); alone it gives something else than in training");
    }

    /** A sentence for the user whose run goes on from the adapter on top of other adapters than before. */
    public Optional<String> otherAdaptersUnder(List<Under> now) {
        List<String> before = under.stream().map(Under::sha256).toList();
        return before.equals(now.stream().map(Under::sha256).toList())
                ? Optional.empty()
                : Optional.of("the adapter that the run goes on from was trained on top of "
                        + (under.isEmpty() ? "no frozen adapter" : names())
                        + (now.isEmpty()
                                ? ", and this run has no frozen_adapters"
                                : ", and those of this run are others, or were changed"));
    }

    private String names() {
        return "the frozen adapter" + (under.size() == 1 ? " " : "s ")
                + String.join(", ", under.stream().map(Under::adapter).toList());
    }

    /** A sentence for the user where the adapter was trained on another model than the one with this hash. */
    public Optional<String> otherBase(String hash) {
        return baseHash == null || baseHash.equals(hash)
                ? Optional.empty()
                : Optional.of("the adapter was trained on another base model than this one (its " + FILE
                        + " has the hash " + baseHash.substring(0, 12) + "…, this model has " + hash.substring(0, 12)
                        + "…): what it gives here may mean nothing");
    }
}
