package org.peft4j.data;

import de.siegmar.fastcsv.reader.AbstractBaseCsvCallbackHandler;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Collects the fields of one row as the parser finds them; blank rows are left out. */
final class CsvFields extends AbstractBaseCsvCallbackHandler<CsvFields.Row> {
    /**
     * A row that is not blank.
     *
     * @param line the line that it begins on
     * @param count how many fields it has
     * @param fields the fields, or the first ones where there are more than expected
     */
    record Row(long line, int count, List<String> fields) {}

    private final CsvText text;
    private int expected = CsvHeader.MAX_COLUMNS;
    private List<String> fields = new ArrayList<>();
    private long breaks;

    CsvFields(CsvText text) {
        this.text = text;
    }

    /** How many fields a row should have; more are only counted. */
    void expect(int count) {
        expected = count;
    }

    /** The line that the next field of this row begins on. */
    long nextLine() {
        return getStartingLineNumber() + breaks;
    }

    @Override
    protected void handleBegin(long line) {
        text.beginRow();
        fields = new ArrayList<>();
        breaks = 0;
    }

    @Override
    protected void handleField(int index, char[] buffer, int from, int length, boolean quoted) {
        String field = new String(buffer, from, length);
        if (index < expected) {
            fields.add(field);
        }
        if (quoted) {
            breaks += (field + '.').lines().count() - 1; // with a letter behind the last break
        }
    }

    @Override
    protected @Nullable Row buildRecord() {
        return isBlank() ? null : new Row(getStartingLineNumber(), getFieldCount(), fields);
    }

    /** In a file of one column, a row of blanks is a text. */
    private boolean isBlank() {
        return getFieldCount() == 1
                && fields.stream().allMatch(field -> expected == 1 ? field.isEmpty() : field.isBlank());
    }
}
