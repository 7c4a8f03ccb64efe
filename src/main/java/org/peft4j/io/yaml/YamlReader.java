package org.peft4j.io.yaml;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLParser;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ForeignFormats;
import org.peft4j.io.Streams;
import org.peft4j.io.SyntaxErrors;
import org.peft4j.io.Utf8;
import org.yaml.snakeyaml.reader.ReaderException;

/**
 * Reads the part of YAML that settings need: one document of maps, lists and values. Refused: more than 1 MiB, more
 * than 32 levels, text that is not UTF-8, duplicate keys, a second document, aliases.
 */
public final class YamlReader {
    static final int MAX_BYTES = 1 << 20;
    static final int MAX_DEPTH = 32;

    private static final YAMLFactory YAML = new YAMLFactory();

    private final String source;
    private final boolean lines;

    private YamlReader(String source, boolean lines) {
        this.source = source;
        this.lines = lines;
    }

    /** The tree of a file; an empty file gives an empty map. */
    public static YamlNode read(Path file) {
        byte[] bytes = new byte[0];
        try {
            try (InputStream in = Streams.open(file)) { // may be a pipe, whose size is not known before
                bytes = in.readNBytes(MAX_BYTES + 1);
            }
            if (bytes.length > MAX_BYTES) {
                throw new ConfigException(
                        "config file " + file + " has more than " + MAX_BYTES + " bytes: is it a config?");
            }
            String other = ForeignFormats.describe(bytes);
            if (other != null) {
                throw new ConfigException("config file " + file + ": " + other);
            }
            Utf8.check(file, bytes, 0);
            return new YamlReader(Streams.name(file).toString(), true)
                    .document(new String(bytes, StandardCharsets.UTF_8));
        } catch (MalformedFileException e) {
            long line = new String(bytes, StandardCharsets.ISO_8859_1)
                            .chars()
                            .limit(Math.max(0, e.offset()))
                            .filter(c -> c == '\n')
                            .count()
                    + 1;
            throw new ConfigException(
                    "config file " + file + " cannot be read: " + (e.offset() < 0 ? "" : "line " + line + ": ")
                            + e.reason(),
                    e);
        } catch (NoSuchFileException e) {
            throw new ConfigException(
                    "config file " + file + " does not exist (working directory: "
                            + Path.of("").toAbsolutePath() + "): " + e.getReason(),
                    e);
        } catch (FileSystemException e) {
            throw new ConfigException("config file " + file + " cannot be read: " + e.getReason(), e);
        } catch (IOException e) {
            throw new ConfigException("config file " + file + " cannot be read: " + e.getMessage(), e);
        }
    }

    /** The value of one command-line option; {@code source} names the option in errors. */
    static YamlNode parse(String text, String source) {
        try {
            return new YamlReader(source, false).document(text);
        } catch (IOException e) {
            throw new ConfigException(source + ": " + e.getMessage(), e);
        }
    }

    private YamlNode document(String text) throws IOException {
        try (YAMLParser parser = YAML.createParser(text)) {
            JsonToken first = parser.nextToken();
            if (first == null) {
                return lines ? new YamlNode.Mapping(source, Map.of(), Map.of()) : new YamlNode.Scalar(source, null);
            }
            YamlNode root = node(parser, 0);
            if (parser.nextToken() != null) {
                throw new ConfigException("a second document begins where one was expected (" + where(parser) + ")");
            }
            return root;
        } catch (JacksonException e) {
            boolean control = e.getCause() instanceof ReaderException;
            int line = control ? lineOf(text, ((ReaderException) e.getCause()).getPosition()) : SyntaxErrors.line(e);
            String problem = control
                    ? String.format(
                            "the character U+%04X cannot stand in YAML",
                            ((ReaderException) e.getCause()).getCodePoint())
                    : SyntaxErrors.describe(e);
            throw new ConfigException(
                    "not valid YAML (" + source + (lines && line > 0 ? ", line " + line : "") + "): " + problem, e);
        }
    }

    private static int lineOf(String text, int position) {
        return 1
                + (int) text.codePoints().limit(position).filter(c -> c == '\n').count();
    }

    private YamlNode node(YAMLParser parser, int depth) throws IOException {
        String where = where(parser);
        if (depth > MAX_DEPTH) {
            throw new ConfigException("more than " + MAX_DEPTH + " levels (" + where + ")");
        }
        if (parser.isCurrentAlias()) {
            throw new ConfigException("aliases (*name) are not read; write the value out (" + where + ")");
        }
        if (parser.getTypeId() != null) {
            throw new ConfigException(
                    "tags (!name) are not read; put a text that begins with ! in quotes (" + where + ")");
        }
        JsonToken token = parser.currentToken();
        return switch (token) {
            case START_OBJECT -> mapping(parser, where, depth);
            case START_ARRAY -> sequence(parser, where, depth);
            case VALUE_NULL -> new YamlNode.Scalar(where, null);
            case VALUE_STRING, VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT, VALUE_TRUE, VALUE_FALSE ->
                new YamlNode.Scalar(where, parser.getText());
            default -> throw new ConfigException("expected a value, a list or a map (" + where + ")");
        };
    }

    private YamlNode mapping(YAMLParser parser, String where, int depth) throws IOException {
        Map<String, YamlNode> values = new LinkedHashMap<>();
        Map<String, String> keys = new LinkedHashMap<>();
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            String place = where(parser);
            String former = keys.putIfAbsent(key, place);
            if (former != null) {
                throw new ConfigException(
                        "duplicate key '" + key + "' (" + place + "; first: " + former + "); keep one of them");
            }
            parser.nextToken();
            values.put(key, node(parser, depth + 1));
        }
        return new YamlNode.Mapping(where, values, keys);
    }

    private YamlNode sequence(YAMLParser parser, String where, int depth) throws IOException {
        List<YamlNode> items = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            items.add(node(parser, depth + 1));
        }
        return new YamlNode.Sequence(where, items);
    }

    private String where(JsonParser parser) {
        return lines ? source + ", line " + parser.currentTokenLocation().getLineNr() : source;
    }
}
