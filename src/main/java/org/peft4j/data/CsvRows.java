package org.peft4j.data;

import de.siegmar.fastcsv.reader.CsvParseException;
import de.siegmar.fastcsv.reader.CsvReader;
import de.siegmar.fastcsv.reader.FieldMismatchStrategy;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/**
 * RFC 4180, with commas or tabs: the first row names the columns, every row has as many fields. A field may be in double
 * quotes; then separators and line breaks belong to it, and two double quotes stand for one. A double quote inside a
 * field that does not begin with one is a letter as any other. Rows end with a line feed, a carriage return or both;
 * blank lines are skipped.
 */
final class CsvRows implements RowSource {
    private final TextLines lines;
    private final char separator;
    private final CsvHeader.Wanted wanted;
    private final CsvText text;
    private final CsvFields fields;
    private final Iterator<CsvFields.Row> rows;
    private @Nullable CsvHeader header;
    private long line = 1;

    CsvRows(TextLines lines, char separator, CsvHeader.Wanted wanted) {
        this.lines = lines;
        this.separator = separator;
        this.wanted = wanted;
        text = new CsvText(lines);
        fields = new CsvFields(text);
        rows = CsvReader.builder()
                .fieldSeparator(separator)
                .allowUnclosedQuote(false)
                .extraFieldStrategy(FieldMismatchStrategy.IGNORE)
                .missingFieldStrategy(FieldMismatchStrategy.IGNORE)
                .maxBufferSize(4 * RowReader.MAX_ROW_BYTES) // never filled: CsvText ends rows that are too long
                .build(fields, text)
                .iterator();
    }

    @Override
    public @Nullable Map<String, @Nullable Object> next() throws IOException {
        CsvFields.Row row = read();
        if (row != null && header == null) {
            header = header(row);
            fields.expect(header.names().size());
            row = read();
        }
        if (row == null || header == null) {
            return null;
        }
        List<String> names = header.names();
        if (row.count() != names.size()) {
            throw wrong(line, header.wrongCount(row.count()));
        }
        Map<String, @Nullable Object> columns = new LinkedHashMap<>();
        for (int i = 0; i < names.size(); i++) {
            columns.put(names.get(i), row.fields().get(i));
        }
        return columns;
    }

    private CsvHeader header(CsvFields.Row row) {
        if (row.count() > CsvHeader.MAX_COLUMNS) {
            throw wrong(
                    line, "the header has " + row.count() + " columns, at most " + CsvHeader.MAX_COLUMNS + " are read");
        }
        return CsvHeader.of(row.fields(), separator, wanted, reason -> wrong(line, reason));
    }

    private CsvFields.@Nullable Row read() throws IOException {
        try {
            CsvFields.Row row = rows.hasNext() ? rows.next() : null;
            line = row == null ? line : row.line();
            return row;
        } catch (UncheckedIOException e) {
            throw e.getCause();
        } catch (CsvParseException e) {
            throw explained(e);
        }
    }

    /** The parser's words never reach people; what it wraps comes from {@link TextLines} or the virtual machine. */
    private RuntimeException explained(CsvParseException e) {
        if (e.getCause() instanceof Error error) {
            throw error;
        }
        if (e.getCause() instanceof RuntimeException cause) {
            return cause;
        }
        String remedy = "; inside a field in quotes a double quote is written twice (\"\")";
        long opened = fields.nextLine();
        if (!text.hasEnded()) {
            return wrong(
                    text.line(),
                    "'" + text.letter() + "' behind a closing quote; the field's opening quote is on line " + opened
                            + ", and perhaps it was never closed" + remedy);
        }
        String within = text.isCut() ? "not closed within " + RowReader.MAX_ROW_BYTES + " bytes" : "never closed";
        return wrong(opened, "a double quote opens a field here that is " + within + remedy);
    }

    private MalformedFileException wrong(long where, String reason) {
        return lines.wrong(where, reason, null);
    }

    @Override
    public long line() {
        return line;
    }

    @Override
    public void close() throws IOException {
        lines.close();
    }
}
