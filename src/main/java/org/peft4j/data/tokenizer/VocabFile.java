package org.peft4j.data.tokenizer;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;

/**
 * Reads {@code vocab.txt}: a token a line, whose number is the line's, from 0. As in the library, blanks at the end of a
 * line do not belong to the token, an empty line is a number without a token that a text can have, and of a token that
 * stands there twice the last line counts.
 */
final class VocabFile {
    private VocabFile() {}

    /**
     * @param notes gets a line if a token stands there twice
     */
    static Map<String, Integer> read(Path file, byte[] bytes, List<String> notes) {
        String text;
        try {
            text = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new MalformedFileException(file, -1, "a vocabulary must be UTF-8, this is another encoding", e);
        }
        Map<String, Integer> ids = new LinkedHashMap<>();
        int line = 0;
        for (int start = 0; start < text.length(); line++) {
            int end = text.indexOf('\n', start);
            end = end < 0 ? text.length() : end;
            String token = trimEnd(text.substring(start, end));
            Integer former = ids.put(token, line);
            if (former != null && !token.isEmpty()) {
                notes.add(file.getFileName() + ": '" + token + "' stands on lines " + (former + 1) + " and "
                        + (line + 1) + "; the last counts");
            }
            start = end + 1;
        }
        if (ids.isEmpty()) {
            throw new MalformedFileException(file, -1, "a vocabulary must have a token on each line, this is empty");
        }
        return ids;
    }

    private static String trimEnd(String line) {
        int end = line.length();
        while (end > 0 && isSpace(line.charAt(end - 1))) {
            end--;
        }
        return line.substring(0, end);
    }

    /** Unicode's White_Space, which is neither of Java's. */
    private static boolean isSpace(char c) {
        return (c >= 9 && c <= 13) || c == 0x85 || Character.isSpaceChar(c);
    }
}
