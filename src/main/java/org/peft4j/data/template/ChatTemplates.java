package org.peft4j.data.template;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.tokenizer.TokenizerFiles;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Bytes;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.NearestName;
import org.peft4j.io.Utf8;

/**
 * The chat templates of a tokenizer's directory, found as transformers 5.18 finds them: {@code chat_template.jinja} and
 * {@code additional_chat_templates/NAME.jinja}; only where there are none of these, {@code chat_template} of {@code
 * tokenizer_config.json}, one text or several by name; and last {@code chat_template.json}, which older processors wrote and
 * tokenizers do not read. Immutable, any thread. A template is parsed when it is asked for.
 */
public final class ChatTemplates {
    private static final String DEFAULT = "default";
    private static final String TOOL_USE = "tool_use";
    private static final String KEY = "chat_template";
    /** The file of the one template that counts where there are no others by name. */
    public static final String FILE = "chat_template.jinja";

    /** Beside it those that have names. */
    public static final String DIRECTORY = "additional_chat_templates";

    private static final String ENDING = ".jinja";
    private static final String CONFIG = "tokenizer_config.json";
    private static final String OLDER = "chat_template.json";

    private final Path directory;
    private final Map<String, Source> sources;
    private final Map<String, String> specialTokens;

    /** A template's text and where it stands. */
    private record Source(String text, String where) {}

    private ChatTemplates(Path directory, Map<String, Source> sources, Map<String, String> specialTokens) {
        this.directory = directory;
        this.sources = sources;
        this.specialTokens = specialTokens;
    }

    /** The templates of a model's directory. */
    public static ChatTemplates of(ModelDirectory model) throws IOException {
        return of(model.directory());
    }

    /**
     * The templates of a directory with a tokenizer; there may be none.
     *
     * @throws MalformedFileException if a file is not what it should be
     */
    public static ChatTemplates of(Path directory) throws IOException {
        Map<String, Source> sources = files(directory);
        if (sources.isEmpty()) {
            sources = config(directory.resolve(CONFIG));
        }
        if (sources.isEmpty()) {
            sources = config(directory.resolve(OLDER));
        }
        return new ChatTemplates(directory, sources, TokenizerFiles.specialTokens(directory));
    }

    /** The same with the template of this file alone; the special tokens stay. */
    public ChatTemplates withFile(Path file) throws IOException {
        return new ChatTemplates(directory, Map.of(DEFAULT, source(file)), specialTokens);
    }

    /** A template in a file of its own, such as one with {@code generation} blocks for training. */
    public static ChatTemplate read(Path file) throws IOException {
        Source source = source(file);
        return ChatTemplate.parse(source.text(), source.where());
    }

    private static Map<String, Source> files(Path directory) throws IOException {
        Map<String, Source> sources = new TreeMap<>();
        if (Files.exists(directory.resolve(FILE))) {
            sources.put(DEFAULT, source(directory.resolve(FILE)));
        }
        if (Files.isDirectory(directory.resolve(DIRECTORY))) {
            try (DirectoryStream<Path> more = Files.newDirectoryStream(directory.resolve(DIRECTORY), "*" + ENDING)) {
                for (Path file : more) {
                    String name = file.getFileName().toString();
                    sources.put(name.substring(0, name.length() - ENDING.length()), source(file));
                }
            }
        }
        return sources;
    }

    private static Source source(Path file) throws IOException {
        byte[] bytes = Bytes.readFile(file, 4 * ChatTemplate.MAX_LENGTH);
        Utf8.check(file, bytes, 0);
        return new Source(new String(bytes, StandardCharsets.UTF_8), file.toString());
    }

    private static Map<String, Source> config(Path file) throws IOException {
        if (!Files.exists(file)) {
            return Map.of();
        }
        Object value = Json.readObject(file).get(KEY);
        Map<String, Source> sources = new TreeMap<>();
        if (value instanceof String text) {
            sources.put(DEFAULT, new Source(text, file + ": " + KEY));
        } else if (value instanceof Map<?, ?> named) {
            named.forEach((name, text) -> put(sources, file, name, text));
        } else if (value instanceof List<?> list) {
            for (Object one : list) {
                Map<?, ?> pair = one instanceof Map<?, ?> map ? map : Map.of();
                put(sources, file, pair.get("name"), pair.get("template"));
            }
        } else if (value != null) {
            throw malformed(file, value);
        }
        return sources;
    }

    private static void put(Map<String, Source> sources, Path file, @Nullable Object name, @Nullable Object text) {
        if (!(name instanceof String key) || !(text instanceof String template)) {
            throw malformed(file, text == null ? name : text);
        }
        sources.put(key, new Source(template, file + ": " + KEY + " '" + key + "'"));
    }

    private static MalformedFileException malformed(Path file, @Nullable Object value) {
        return new MalformedFileException(
                file,
                -1,
                KEY + " must be a text, or a list of {\"name\": …, \"template\": …}, got " + Json.shown(value));
    }

    /** Whether there is none. */
    public boolean isEmpty() {
        return sources.isEmpty();
    }

    /** The names of the templates, in order; a single one is called {@code default}. */
    public List<String> names() {
        return List.copyOf(sources.keySet());
    }

    /** The texts of the special tokens by name, for {@link ChatTemplate.Inputs}. */
    public Map<String, String> specialTokens() {
        return specialTokens;
    }

    /**
     * The template for a conversation: the one of this name; without a name {@code tool_use} where tools are given and there
     * is one, else {@code default}.
     *
     * @throws ConfigException if there is none; says what there is
     */
    public ChatTemplate choose(@Nullable String name, boolean withTools) {
        if (sources.isEmpty()) {
            throw new ConfigException(
                    directory + ": the tokenizer has no chat template (neither " + FILE + " nor " + KEY
                            + " in " + CONFIG + "): it may be a base model. Put " + FILE + " beside " + CONFIG
                            + ", give another file (task.template: FILE.jinja), or train on rows that are texts already (text, or prompt"
                            + " and response)");
        }
        String chosen = name != null ? name : withTools && sources.containsKey(TOOL_USE) ? TOOL_USE : DEFAULT;
        Source source = sources.get(chosen);
        if (source == null) {
            throw new ConfigException(directory + ": there is no chat template '" + chosen + "'"
                    + (name == null
                            ? ", so one has to be named; there are: " + String.join(", ", sources.keySet())
                            : NearestName.hint(name, sources.keySet())));
        }
        return ChatTemplate.parse(source.text(), source.where());
    }
}
