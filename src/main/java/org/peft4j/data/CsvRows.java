package org.peft4j.data;

import de.siegmar.fastcsv.reader.CloseableIterator;
import de.siegmar.fastcsv.reader.CsvParseException;
import de.siegmar.fastcsv.reader.CsvReader;
import de.siegmar.fastcsv.reader.FieldMismatchStrategy;
import de.siegmar.fastcsv.reader.NamedCsvRecord;
import de.siegmar.fastcsv.reader.NamedCsvRecordHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PushbackReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/** RFC 4180: commas, double quotes; the first row names the columns, every row has as many fields as it. */
final class CsvRows implements RowSource {
    private final Path file;
    private final CsvReader<NamedCsvRecord> reader;
    private final CloseableIterator<NamedCsvRecord> rows;
    private long line = 1;

    CsvRows(Path file) throws IOException {
        this.file = file;
        InputStream in = Files.newInputStream(file);
        NamedCsvRecordHandler handler = NamedCsvRecordHandler.builder()
                .maxFieldSize(RowReader.MAX_ROW_BYTES)
                .maxRecordSize(RowReader.MAX_ROW_BYTES)
                .build();
        reader = CsvReader.builder()
                .maxBufferSize(RowReader.MAX_ROW_BYTES)
                .extraFieldStrategy(FieldMismatchStrategy.STRICT)
                .missingFieldStrategy(FieldMismatchStrategy.STRICT)
                .build(handler, withoutMark(in));
        rows = reader.iterator();
    }

    /** The text without a byte order mark; bytes that are not UTF-8 are an error, not a replacement character. */
    private static Reader withoutMark(InputStream in) throws IOException {
        PushbackReader text = new PushbackReader(new InputStreamReader(in, StandardCharsets.UTF_8.newDecoder()));
        int first = text.read();
        if (first >= 0 && first != '\uFEFF') {
            text.unread(first);
        }
        return text;
    }

    @Override
    public @Nullable Map<String, @Nullable Object> next() throws IOException {
        try {
            if (!rows.hasNext()) {
                return null;
            }
            NamedCsvRecord row = rows.next();
            line = row.getStartingLineNumber();
            return new LinkedHashMap<>(row.getFieldsAsMap());
        } catch (CsvParseException | UncheckedIOException e) {
            throw wrong(e);
        }
    }

    private MalformedFileException wrong(RuntimeException e) throws IOException {
        for (Throwable cause = e; cause != null; cause = cause.getCause()) {
            if (cause instanceof CharacterCodingException) {
                return new MalformedFileException(
                        file,
                        -1,
                        "after line " + line + ": bytes that are not UTF-8; convert the file, for example with iconv",
                        e);
            }
        }
        Throwable cause = e.getCause();
        if (e instanceof UncheckedIOException && cause instanceof IOException io) {
            throw io;
        }
        String detail = cause == null ? "" : " (" + cause.getMessage() + ")";
        return new MalformedFileException(
                file, -1, "after line " + line + ": not valid CSV: " + e.getMessage() + detail, e);
    }

    @Override
    public long line() {
        return line;
    }

    @Override
    public void close() throws IOException {
        reader.close();
    }
}
