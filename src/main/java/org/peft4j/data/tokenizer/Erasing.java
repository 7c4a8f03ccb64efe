package org.peft4j.data.tokenizer;

import java.text.Normalizer;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Whether a normalizer, judged before, may leave nothing of an added token. The library looks for such a token at every
 * byte of the text and ends the process inside a character.
 */
final class Erasing {
    private Erasing() {}

    /** True if something of the token may not survive; false is certain. */
    static boolean mayErase(@Nullable Map<String, @Nullable Object> normalizer, String token) {
        return normalizer != null
                && mayShorten(normalizer)
                && token.codePoints().noneMatch(c -> survives(normalizer, c, token));
    }

    private static boolean mayShorten(Map<String, @Nullable Object> n) {
        return switch (type(n)) {
            case "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "ByteLevel" -> false;
            case "Replace" -> "".equals(n.get("content"));
            case "Sequence" -> members(n).stream().anyMatch(Erasing::mayShorten);
            default -> true;
        };
    }

    /** Whether something of a character of the token passes each step: of a letter, a digit, or a visible ASCII character. */
    private static boolean survives(Map<String, @Nullable Object> n, int c, String token) {
        String parts = parts(c);
        int first = parts.codePointAt(0);
        if (!(first > ' ' && first <= '~') && !Character.isLetterOrDigit(first)) {
            return false;
        }
        return switch (type(n)) {
            case "Sequence" -> members(n).stream().allMatch(each -> survives(each, c, token));
            case "Replace" ->
                pattern(n).get("String") instanceof String text
                        && text.codePoints()
                                .noneMatch(each -> parts.contains(parts(each))
                                        || parts(each).contains(parts));
            case "Precompiled" ->
                token.codePoints().noneMatch(Erasing::mayJoin)
                        && CharacterMap.judged((String) n.get("precompiled_charsmap"))
                                .leavesAlone(c);
            default -> true;
        };
    }

    /** What a character consists of, in lower case: no normalizer takes it further apart. */
    private static String parts(int c) {
        return Normalizer.normalize(Character.toString(c), Normalizer.Form.NFKD).toLowerCase(Locale.ROOT);
    }

    /** Whether a character may belong to one grapheme with its neighbour; precise for common scripts only. */
    private static boolean mayJoin(int c) {
        boolean alone =
                c < 0x300 || (c >= 0x370 && c < 0x483) || (c >= 0x48A && c < 0x530) || (c >= 0x4E00 && c <= 0x9FFF);
        return !alone;
    }

    static String type(Map<String, @Nullable Object> component) {
        return (String) Objects.requireNonNull(component.get("type"));
    }

    @SuppressWarnings("unchecked") // written by the judges
    static List<Map<String, @Nullable Object>> members(Map<String, @Nullable Object> sequence) {
        Object members = sequence.get("normalizers");
        return (List<Map<String, @Nullable Object>>)
                Objects.requireNonNull(members == null ? sequence.get("pretokenizers") : members);
    }

    @SuppressWarnings("unchecked")
    static Map<String, @Nullable Object> pattern(Map<String, @Nullable Object> component) {
        return (Map<String, @Nullable Object>) Objects.requireNonNull(component.get("pattern"));
    }
}
