package org.peft4j.data;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.io.JsonEOFException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.SyntaxErrors;

/**
 * One JSON object a line; blank lines are skipped. Numbers keep all their digits. NaN and Infinity, which Python writes
 * though JSON has neither, are read as such.
 */
final class JsonLines implements RowSource {
    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES) // names from files would stay for the life of the process
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(200)
                    .maxStringLength(RowReader.MAX_ROW_BYTES)
                    .build())
            .build();

    private static final ObjectReader OBJECT = JsonMapper.builder(JSON)
            .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .build()
            .readerFor(LinkedHashMap.class);

    private final TextLines lines;

    JsonLines(TextLines lines) {
        this.lines = lines;
    }

    @Override
    public @Nullable Map<String, @Nullable Object> next() throws IOException {
        for (String line = lines.next(); line != null; line = lines.next()) {
            String text = line.stripTrailing();
            if (!text.isEmpty()) {
                return parse(text);
            }
        }
        return null;
    }

    @Override
    public boolean ready() throws IOException {
        return lines.ready();
    }

    private Map<String, @Nullable Object> parse(String text) throws IOException {
        String object = text.stripLeading();
        if (object.startsWith("[")) {
            throw lines.wrong(
                    line(),
                    "expected a JSON object such as {\"text\": \"…\"} on each line, received an array; if the file is one"
                            + " array of objects, convert it: jq -c '.[]' OLD > NEW.jsonl",
                    null);
        }
        if (!object.startsWith("{")) {
            throw lines.wrong(
                    line(),
                    "expected a JSON object such as {\"text\": \"…\"} on each line, received "
                            + (object.length() > 40 ? object.substring(0, 40) + "…" : object),
                    null);
        }
        try (JsonParser parser = OBJECT.createParser(text)) {
            Map<String, @Nullable Object> fields = OBJECT.readValue(parser);
            if (parser.nextToken() != null) {
                throw lines.wrong(
                        line(),
                        "expected one JSON object on each line, received more behind column "
                                + (parser.currentTokenLocation().getColumnNr() - 1),
                        null);
            }
            return fields;
        } catch (JsonEOFException e) {
            throw wrong(
                    e,
                    "; each line has to be one whole object: convert JSON that spans lines: jq -c . OLD > NEW.jsonl");
        } catch (JacksonException e) {
            throw wrong(e, "");
        }
    }

    private MalformedFileException wrong(JacksonException e, String remedy) {
        int column = SyntaxErrors.column(e);
        String reason = "not valid JSON: " + SyntaxErrors.describe(e) + remedy;
        return column < 0 ? lines.wrong(line(), reason, e) : lines.wrong(line(), column, reason, e);
    }

    @Override
    public long line() {
        return lines.number();
    }

    @Override
    public void close() throws IOException {
        lines.close();
    }
}
