package org.peft4j.io.safetensors;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Bytes;
import org.peft4j.io.ForeignFormats;
import org.peft4j.io.Json;
import org.peft4j.io.SyntaxErrors;
import org.peft4j.io.Utf8;
import org.peft4j.io.safetensors.SafeTensorsLayout.Entry;

/**
 * Reads and checks the header of a safetensors file:
 *
 * <pre>
 * 8 bytes   n, unsigned, little endian; at most 100,000,000 and inside the file
 * n bytes   UTF-8 JSON: {"__metadata__": {text: text}, name: {"dtype": …, "shape": […], "data_offsets": [begin, end]}}
 * the rest  the tensors' bytes; offsets count from here
 * </pre>
 *
 * No key occurs twice, at any level, so no two readers can see different tensors in one file. What the offsets have to
 * satisfy stands in {@link SafeTensorsLayout}.
 *
 * @see <a href="https://github.com/huggingface/safetensors#format">the format</a>
 */
final class SafeTensorsHeader {
    static final int LENGTH_BYTES = 8;
    static final int MAX_BYTES = 100_000_000;
    /** More than any model has; each costs half a kilobyte while it is read. */
    static final int MAX_TENSORS = 1 << 18;

    static final String METADATA = "__metadata__";

    private final Path path;

    private SafeTensorsHeader(Path path) {
        this.path = path;
    }

    /**
     * Reads the header from the beginning of a file.
     *
     * @param path     the file, for messages and the result
     * @param in       the file's bytes; read up to the end of the header
     * @param fileSize bytes in the whole file
     */
    static SafeTensorsFile parse(Path path, ReadableByteChannel in, long fileSize) throws IOException {
        return new SafeTensorsHeader(path).parse(in, fileSize);
    }

    private SafeTensorsFile parse(ReadableByteChannel in, long fileSize) throws IOException {
        byte[] header = readHeader(in, fileSize);
        Utf8.check(path, header, LENGTH_BYTES);
        Map<String, String> metadata = new LinkedHashMap<>();
        List<Entry> entries = new ArrayList<>();
        try (JsonParser parser = Json.FACTORY.createParser(header)) {
            readJson(parser, metadata, entries);
        } catch (JacksonException e) {
            long at = e.getLocation() == null ? 0 : Math.max(0, e.getLocation().getByteOffset());
            throw new MalformedFileException(
                    path, LENGTH_BYTES + at, "header is no valid JSON: " + SyntaxErrors.describe(e), e);
        }
        long dataStart = LENGTH_BYTES + (long) header.length;
        return new SafeTensorsFile(path, metadata, SafeTensorsLayout.place(path, entries, dataStart, fileSize));
    }

    private byte[] readHeader(ReadableByteChannel in, long fileSize) throws IOException {
        if (fileSize < LENGTH_BYTES) {
            throw malformed(
                    0,
                    "a safetensors file begins with 8 bytes that give the length of its header, but the file"
                            + " has only " + fileSize);
        }
        byte[] start = new byte[LENGTH_BYTES];
        readFully(in, ByteBuffer.wrap(start));
        long length = ByteBuffer.wrap(start).order(ByteOrder.LITTLE_ENDIAN).getLong();
        if (Long.compareUnsigned(length, MAX_BYTES) > 0) {
            throw notSafeTensors(
                    start,
                    0,
                    "header says " + Bytes.counted(new BigInteger(Long.toUnsignedString(length))) + " bytes, at most "
                            + Bytes.counted(MAX_BYTES) + " allowed");
        }
        if (length > fileSize - LENGTH_BYTES) {
            throw notSafeTensors(
                    start,
                    0,
                    "header says " + Bytes.counted(length) + " bytes, but only "
                            + Bytes.counted(fileSize - LENGTH_BYTES)
                            + " follow; the file is cut off or no safetensors file");
        }
        byte[] header = new byte[(int) length];
        readFully(in, ByteBuffer.wrap(header));
        if (length == 0 || header[0] != '{') {
            throw notSafeTensors(
                    start,
                    LENGTH_BYTES,
                    "header must begin with '{', got "
                            + (length == 0 ? "an empty header" : String.format("byte 0x%02x", header[0])));
        }
        return header;
    }

    private void readJson(JsonParser parser, Map<String, String> metadata, List<Entry> entries) throws IOException {
        parser.nextToken(); // '{', known
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String name = parser.currentName();
            long at = offset(parser);
            Utf8.checkSurrogates(path, name, at);
            parser.nextToken();
            if (name.equals(METADATA)) {
                readMetadata(parser, metadata);
            } else if (entries.size() == MAX_TENSORS) {
                throw malformed(at, "header names more than " + Bytes.counted(MAX_TENSORS) + " tensors");
            } else {
                entries.add(readEntry(parser, name, at));
            }
        }
        if (parser.nextToken() != null) {
            throw malformed(offset(parser), "header must be one JSON object, but more follows it");
        }
    }

    private void readMetadata(JsonParser parser, Map<String, String> metadata) throws IOException {
        expect(parser, JsonToken.START_OBJECT, METADATA + " must be an object");
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            Utf8.checkSurrogates(path, key, offset(parser));
            parser.nextToken();
            expect(parser, JsonToken.VALUE_STRING, METADATA + "['" + key + "'] must be a text");
            String value = parser.getText();
            Utf8.checkSurrogates(path, value, offset(parser));
            metadata.put(key, value);
        }
    }

    private Entry readEntry(JsonParser parser, String name, long at) throws IOException {
        expect(parser, JsonToken.START_OBJECT, "tensor '" + name + "' must be an object");
        ElementType dtype = null;
        List<Long> shape = null;
        List<Long> offsets = null;
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            parser.nextToken();
            switch (key) {
                case "dtype" -> dtype = readElementType(parser, name);
                case "shape" -> shape = readNumbers(parser, name, key, Shapes.MAX_RANK);
                case "data_offsets" -> offsets = readNumbers(parser, name, key, 2);
                default ->
                    throw malformed(
                            offset(parser),
                            "tensor '" + name + "' may have [dtype, shape, data_offsets], got '" + key + "'");
            }
        }
        if (dtype == null || shape == null || offsets == null || offsets.size() != 2) {
            throw malformed(
                    at,
                    "tensor '" + name + "' needs dtype, shape and two data_offsets, got dtype " + dtype + ", shape "
                            + shape + ", data_offsets " + offsets);
        }
        return new Entry(name, dtype, shape, offsets.get(0), offsets.get(1), at);
    }

    private ElementType readElementType(JsonParser parser, String name) throws IOException {
        expect(parser, JsonToken.VALUE_STRING, "dtype of tensor '" + name + "' must be a text");
        try {
            return ElementType.parse(parser.getText());
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(path, offset(parser), "tensor '" + name + "': " + e.getMessage(), e);
        }
    }

    private List<Long> readNumbers(JsonParser parser, String name, String key, int most) throws IOException {
        expect(parser, JsonToken.START_ARRAY, key + " of tensor '" + name + "' must be an array");
        List<Long> numbers = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            String where = key + " of tensor '" + name + "'";
            if (numbers.size() == most) {
                throw malformed(offset(parser), where + " has more than " + most + " numbers");
            }
            expect(parser, JsonToken.VALUE_NUMBER_INT, where + " must hold whole numbers");
            long number = parser.getLongValue(); // refuses what exceeds a long
            if (number < 0) {
                throw malformed(offset(parser), where + " must not be negative, got " + number);
            }
            numbers.add(number);
        }
        return List.copyOf(numbers);
    }

    private void expect(JsonParser parser, JsonToken token, String message) throws IOException {
        if (parser.currentToken() != token) {
            throw malformed(
                    offset(parser),
                    message + ", got " + (parser.currentToken() == null ? "the end" : parser.currentToken()));
        }
    }

    private void readFully(ReadableByteChannel in, ByteBuffer buffer) throws IOException {
        if (!Bytes.readFully(in, buffer)) {
            throw malformed(buffer.position(), "file became shorter while it was read");
        }
    }

    private MalformedFileException notSafeTensors(byte[] start, long at, String reason) {
        @Nullable String other = ForeignFormats.describe(start, ForeignFormats.Wanted.WEIGHTS);
        return malformed(at, other == null ? reason : other);
    }

    private MalformedFileException malformed(long at, String reason) {
        return new MalformedFileException(path, at, reason);
    }

    private static long offset(JsonParser parser) {
        return LENGTH_BYTES + Math.max(0, parser.currentTokenLocation().getByteOffset());
    }
}
