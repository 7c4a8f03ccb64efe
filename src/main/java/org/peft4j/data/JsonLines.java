package org.peft4j.data;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/** One JSON object a line. Numbers keep all their digits. */
final class JsonLines implements RowSource {
    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(200)
                    .maxStringLength(RowReader.MAX_ROW_BYTES)
                    .build())
            .build();

    private static final ObjectReader OBJECT = JsonMapper.builder(JSON)
            .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .build()
            .readerFor(LinkedHashMap.class);

    private final Path file;
    private final InputStream in;
    private long line;

    JsonLines(Path file) throws IOException {
        this.file = file;
        this.in = new BufferedInputStream(Files.newInputStream(file), 1 << 16);
    }

    @Override
    public @Nullable Map<String, @Nullable Object> next() throws IOException {
        for (byte[] bytes = readLine(); bytes != null; bytes = readLine()) {
            String text = decode(bytes);
            if (line == 1 && text.startsWith("\uFEFF")) {
                text = text.substring(1);
            }
            if (!text.isBlank()) {
                return parse(text);
            }
        }
        return null;
    }

    private Map<String, @Nullable Object> parse(String text) throws IOException {
        if (!text.stripLeading().startsWith("{")) {
            throw wrong("expected a JSON object such as {\"text\": \"…\"}, received "
                    + (text.length() > 40 ? text.substring(0, 40) + "…" : text));
        }
        try (JsonParser parser = JSON.createParser(text)) {
            Map<String, @Nullable Object> fields = OBJECT.readValue(parser);
            if (parser.nextToken() != null) {
                throw wrong("expected one JSON object a line, received more after column "
                        + parser.currentTokenLocation().getColumnNr());
            }
            return fields;
        } catch (JsonProcessingException e) {
            String column =
                    e.getLocation() == null ? "" : ", column " + e.getLocation().getColumnNr();
            throw new MalformedFileException(
                    file, -1, "line " + line + column + ": not valid JSON: " + e.getOriginalMessage(), e);
        }
    }

    private String decode(byte[] bytes) throws IOException {
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            throw wrong("bytes that are not UTF-8; convert the file, for example with iconv");
        }
    }

    /** The bytes up to the next line feed, or null at the end. */
    private byte @Nullable [] readLine() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        int next = in.read();
        if (next < 0) {
            return null;
        }
        line++;
        for (; next >= 0 && next != '\n'; next = in.read()) {
            if (bytes.size() >= RowReader.MAX_ROW_BYTES) {
                throw wrong("a row of more than " + RowReader.MAX_ROW_BYTES + " bytes; split it");
            }
            bytes.write(next);
        }
        return bytes.toByteArray();
    }

    private MalformedFileException wrong(String reason) {
        return new MalformedFileException(file, -1, "line " + line + ": " + reason);
    }

    @Override
    public long line() {
        return line;
    }

    @Override
    public void close() throws IOException {
        in.close();
    }
}
