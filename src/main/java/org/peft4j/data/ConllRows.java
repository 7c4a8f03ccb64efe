package org.peft4j.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/**
 * Sentences of words with tags, a word a line; a blank line ends a sentence, which is one row. The columns of a line are
 * separated by tabs, or where it has none, by blanks. The word is the first column, the tag the last.
 *
 * <p>In CoNLL-U ({@code .conllu}) lines have ten columns, of which the second is the word and the fourth the tag (UPOS).
 * Its ranges ({@code 1-2}: the written form of words that follow by themselves) and empty nodes ({@code 1.1}: words that are
 * not in the text) are passed over, since they would be words twice, or words that nobody wrote.
 *
 * <p>Lines that begin with {@code -DOCSTART-} end a sentence and are no words. Comments begin with {@code #}; outside of
 * CoNLL-U that is a word, too, so there only a line in front of a sentence's first word is one, if it has another number
 * of columns than the words have.
 */
final class ConllRows implements RowSource {
    private static final String DOCUMENT = "-DOCSTART-";
    private static final int CONLLU_COLUMNS = 10;
    private static final Pattern NO_WORD = Pattern.compile("\\d+(-|\\.)\\d+");
    private static final Pattern NUMBER = Pattern.compile("\\d+");
    private static final Pattern BLANKS = Pattern.compile("[ \\t]+");
    private static final Pattern ENDS = Pattern.compile("^ +| +$");
    private static final Pattern BREAK = Pattern.compile("[\\r\\n]+$");

    private record Line(long number, List<String> columns) {
        boolean mayBeComment() {
            return columns.get(0).startsWith("#");
        }
    }

    private final TextLines lines;
    private final boolean conllu;
    private final String wordsName;
    private final @Nullable String tagsName;
    private int columns;
    private long columnsLine;
    private long row;

    /** @param names what the fields of a row are called: the words, and the tags unless only words are wanted */
    ConllRows(TextLines lines, boolean conllu, List<String> names) {
        this.lines = lines;
        this.conllu = conllu;
        wordsName = names.get(0);
        tagsName = names.size() > 1 ? names.get(1) : null;
        columns = conllu ? CONLLU_COLUMNS : 0;
    }

    static boolean isName(String name) {
        return name.endsWith(".conll") || name.endsWith(".conllu") || name.endsWith(".bio") || name.endsWith(".iob");
    }

    @Override
    public @Nullable Map<String, @Nullable Object> next() throws IOException {
        while (true) {
            List<Line> block = block();
            if (block == null) {
                return null;
            }
            List<Line> words = conllu ? wordsOfConllu(block) : withoutComments(block);
            if (!words.isEmpty()) {
                row = words.get(0).number();
                return fields(words);
            }
        }
    }

    /** The lines up to the next blank one, which may be none; null at the end of the file. */
    private @Nullable List<Line> block() throws IOException {
        List<Line> block = new ArrayList<>();
        long bytes = 0;
        for (String line = lines.next(); line != null; line = lines.next()) {
            String text = BREAK.matcher(line).replaceFirst("");
            if (BLANKS.matcher(text).replaceAll("").isEmpty() || text.startsWith(DOCUMENT)) {
                return block;
            }
            bytes += lines.length();
            if (bytes > RowReader.MAX_ROW_BYTES) {
                throw wrong(
                        lines.number(),
                        "a sentence of more than " + RowReader.MAX_ROW_BYTES + " bytes; a blank line ends a sentence");
            }
            if (!conllu || !text.startsWith("#")) {
                block.add(new Line(lines.number(), split(text)));
            }
        }
        return block.isEmpty() ? null : block;
    }

    private List<String> split(String text) {
        if (text.indexOf('\t') < 0) {
            return List.of(BLANKS.split(ENDS.matcher(text).replaceAll("")));
        }
        List<String> fields = new ArrayList<>();
        for (String field : text.split("\t", -1)) {
            fields.add(ENDS.matcher(field).replaceAll(""));
        }
        if (!conllu && fields.size() > 2 && fields.get(fields.size() - 1).isEmpty()) {
            fields.remove(fields.size() - 1); // a tab at the end of each line
        }
        return fields;
    }

    private List<Line> wordsOfConllu(List<Line> block) {
        List<Line> words = new ArrayList<>();
        for (Line line : block) {
            checkColumns(line);
            String number = line.columns().get(0);
            if (NUMBER.matcher(number).matches()) {
                words.add(line);
            } else if (!NO_WORD.matcher(number).matches()) {
                throw wrong(
                        line.number(),
                        "expected a word's number (1, 1-2 or 1.1) in the first column, received '" + shortened(number)
                                + "'");
            }
        }
        return words;
    }

    private List<Line> withoutComments(List<Line> block) {
        int first = 0;
        while (first < block.size() && block.get(first).mayBeComment()) {
            first++;
        }
        if (columns == 0 && first < block.size()) {
            columns = block.get(first).columns().size();
            columnsLine = block.get(first).number();
        }
        List<Line> words = new ArrayList<>();
        for (int i = 0; i < block.size(); i++) {
            Line line = block.get(i);
            if (i >= first || line.columns().size() == columns) {
                checkColumns(line);
                words.add(line);
            } else {
                words.clear(); // a comment: what seemed to be words in front of it were comments
            }
        }
        return words;
    }

    private void checkColumns(Line line) {
        int received = line.columns().size();
        if (received != columns) {
            throw wrong(
                    line.number(),
                    "expected " + columns + " columns " + (conllu ? "(CoNLL-U)" : "as in line " + columnsLine)
                            + ", received " + received);
        }
        if (tagsName != null && columns < 2) {
            throw wrong(line.number(), "expected a word and a tag, received 1 column");
        }
    }

    private Map<String, @Nullable Object> fields(List<Line> block) {
        List<String> words = new ArrayList<>();
        List<String> tags = new ArrayList<>();
        for (Line line : block) {
            words.add(notEmpty(line, conllu ? 1 : 0, "word"));
            if (tagsName != null) {
                tags.add(notEmpty(line, conllu ? 3 : columns - 1, "tag"));
            }
        }
        Map<String, @Nullable Object> fields = new LinkedHashMap<>();
        fields.put(wordsName, words);
        if (tagsName != null) {
            fields.put(tagsName, tags);
        }
        return fields;
    }

    private String notEmpty(Line line, int column, String what) {
        String value = line.columns().get(column);
        if (value.isEmpty()) {
            throw wrong(line.number(), "expected a " + what + " in column " + (column + 1) + ", received an empty one");
        }
        return value;
    }

    private MalformedFileException wrong(long line, String reason) {
        return lines.wrong(line, reason, null);
    }

    private static String shortened(String text) {
        return text.length() > 40 ? text.substring(0, 40) + "…" : text;
    }

    @Override
    public long line() {
        return row;
    }

    @Override
    public void close() throws IOException {
        lines.close();
    }
}
