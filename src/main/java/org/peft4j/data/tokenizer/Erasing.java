package org.peft4j.data.tokenizer;

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

    /** Whether a visible ASCII character of the token passes each step as itself. */
    private static boolean survives(Map<String, @Nullable Object> n, int c, String token) {
        if (c <= ' ' || c > '~') {
            return false;
        }
        return switch (type(n)) {
            case "Sequence" -> members(n).stream().allMatch(each -> survives(each, c, token));
            case "Replace" -> {
                Object text = pattern(n).get("String");
                String lower = String.valueOf((char) c).toLowerCase(Locale.ROOT);
                yield text instanceof String string
                        && !string.toLowerCase(Locale.ROOT).contains(lower);
            }
            case "Precompiled" -> token.chars().allMatch(each -> each < 0x80) && leavesAlone(n, c);
            default -> true;
        };
    }

    private static boolean leavesAlone(Map<String, @Nullable Object> n, int c) {
        return CharacterMap.judged((String) n.get("precompiled_charsmap")).leavesAlone(c);
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
