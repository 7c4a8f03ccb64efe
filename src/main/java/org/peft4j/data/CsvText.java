package org.peft4j.data;

import java.io.IOException;
import java.io.Reader;

/**
 * What the CSV parser reads. The parser does not tell where it stopped, so it never gets text ahead of need: a piece ends
 * with the line or with the letter behind a double quote. A letter that may not be there is therefore the last one
 * given. A row that goes on and on, since its quote is not closed, is cut: the text ends there.
 */
final class CsvText extends Reader {
    private final TextLines lines;
    private String text = "";
    private int at;
    /** How many lines are before {@link #text}, which is several where carriage returns alone end them. */
    private long before;

    private long bytes;
    private boolean ended;
    private boolean cut;

    CsvText(TextLines lines) {
        this.lines = lines;
    }

    /** To be called where a row begins; its bytes are counted from here. */
    void beginRow() {
        bytes = 0;
    }

    /** The last letter given. */
    String letter() {
        return Character.toString(text.codePointAt(at - 1));
    }

    /** Its line, from 1. */
    long line() {
        return before + text.substring(0, at).lines().count();
    }

    boolean hasEnded() {
        return ended;
    }

    /** Whether it has ended before its time. */
    boolean isCut() {
        return cut;
    }

    @Override
    public int read(char[] to, int from, int most) throws IOException {
        if (at == text.length() && !nextLine()) {
            return -1;
        }
        int begin = at;
        int stop = Math.min(text.length(), begin + most);
        do {
            at++;
        } while (at < stop && !isBehindQuote(at - 1));
        text.getChars(begin, at, to, from);
        return at - begin;
    }

    private boolean isBehindQuote(int place) {
        return place > 0 && text.charAt(place) != '"' && text.charAt(place - 1) == '"';
    }

    private boolean nextLine() throws IOException {
        String next = ended ? null : lines.next();
        if (next != null) {
            boolean goesOn = bytes > 0; // only in quotes
            bytes += lines.length();
            cut = goesOn && bytes > RowReader.MAX_ROW_BYTES;
        }
        if (next == null || cut) {
            ended = true;
            return false;
        }
        before += text.lines().count();
        text = next;
        at = 0;
        return true;
    }

    @Override
    public void close() throws IOException {
        lines.close();
    }
}
