package org.peft4j.data;

import java.io.IOException;
import java.util.ArrayList;
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
    private static final String QUOTES = "; inside a field in quotes a double quote is written twice (\"\")";

    private final TextLines lines;
    private final char separator;
    private final CsvHeader.Wanted wanted;
    private @Nullable CsvHeader header;

    private String text = "";
    private int at;
    /** The line that {@link #at} is in. */
    private long line = 1;

    private long start = 1;
    private long bytes;

    CsvRows(TextLines lines, char separator, CsvHeader.Wanted wanted) {
        this.lines = lines;
        this.separator = separator;
        this.wanted = wanted;
    }

    @Override
    public @Nullable Map<String, @Nullable Object> next() throws IOException {
        if (header == null) {
            List<String> names = record(CsvHeader.MAX_COLUMNS);
            if (names == null) {
                return null;
            }
            header = CsvHeader.of(names, separator, wanted, reason -> wrong(start, reason));
        }
        List<String> names = header.names();
        List<String> fields = record(names.size());
        if (fields == null) {
            return null;
        }
        Map<String, @Nullable Object> row = new LinkedHashMap<>();
        for (int i = 0; i < names.size(); i++) {
            row.put(names.get(i), fields.get(i));
        }
        return row;
    }

    /** The fields of the next row that is not blank, or null at the end; it has to have as many as the header. */
    private @Nullable List<String> record(int most) throws IOException {
        List<String> fields = new ArrayList<>();
        int count;
        do {
            if (at == text.length() && !readLine()) {
                return null;
            }
            start = line;
            bytes = lines.length();
            fields.clear();
            count = 0;
            boolean more = true;
            while (more) {
                String field = at < text.length() && text.charAt(at) == '"' ? quoted() : plain();
                if (count++ < most) {
                    fields.add(field);
                }
                more = at < text.length() && text.charAt(at) == separator;
                at += more ? 1 : 0;
            }
            endRow();
        } while (count == 1 && isBlank(fields.get(0)));
        if (header == null && count > most) {
            throw wrong(start, "the header has " + count + " columns, at most " + most + " are read");
        }
        if (header != null && count != most) {
            throw wrong(start, header.wrongCount(count));
        }
        return fields;
    }

    /** In a file of one column, a row of blanks is a text. */
    private boolean isBlank(String field) {
        return header != null && header.names().size() == 1 ? field.isEmpty() : field.isBlank();
    }

    private String plain() {
        int from = at;
        while (at < text.length()) {
            char c = text.charAt(at);
            if (c == separator || c == '\n' || c == '\r') {
                break;
            }
            at++;
        }
        return text.substring(from, at);
    }

    private String quoted() throws IOException {
        long opened = line;
        StringBuilder field = new StringBuilder();
        at++;
        while (true) {
            int quote = text.indexOf('"', at);
            if (quote < 0) {
                field.append(text, at, text.length());
                at = text.length();
                line += text.endsWith("\n") ? 1 : 0;
                if (!readLine()) {
                    throw wrong(opened, "a double quote opens a field here that is never closed" + QUOTES);
                }
                bytes += lines.length();
                if (bytes > RowReader.MAX_ROW_BYTES) {
                    throw wrong(
                            opened,
                            "a double quote opens a field here that is not closed within " + RowReader.MAX_ROW_BYTES
                                    + " bytes" + QUOTES);
                }
                continue;
            }
            field.append(text, at, quote);
            at = quote + 1;
            if (at == text.length() || isEnd(text.charAt(at))) {
                return field.toString();
            }
            if (text.charAt(at) != '"') {
                throw wrong(
                        line,
                        "'" + Character.toString(text.codePointAt(at))
                                + "' behind a closing quote; the field's opening quote is on line " + opened
                                + ", and perhaps it was never closed" + QUOTES);
            }
            field.append('"');
            at++;
        }
    }

    private boolean isEnd(char c) {
        return c == separator || c == '\n' || c == '\r';
    }

    private void endRow() {
        if (at < text.length() && text.charAt(at) == '\r') {
            at++;
            if (at == text.length() || text.charAt(at) != '\n') {
                line++;
                return;
            }
        }
        if (at < text.length()) {
            at++;
            line++;
        }
    }

    private boolean readLine() throws IOException {
        String next = lines.next();
        text = next == null ? "" : next;
        at = 0;
        return next != null;
    }

    private MalformedFileException wrong(long where, String reason) {
        return lines.wrong(where, reason, null);
    }

    @Override
    public long line() {
        return start;
    }

    @Override
    public void close() throws IOException {
        lines.close();
    }
}
