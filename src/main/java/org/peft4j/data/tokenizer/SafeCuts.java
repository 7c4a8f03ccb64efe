package org.peft4j.data.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Places where a text may be cut in two so that its tokens are those of the first piece followed by others (and, cut from
 * the other side, ends with those of the second piece). So the first tokens of a long text need only its beginning.
 *
 * <p>Such a place is in front of a single blank between two letters or digits, between two Chinese characters where
 * the normalizer puts blanks around each, or between two of ASCII's punctuation marks where each is a word by itself. Whether that holds depends on every component, so it is said only of those for
 * which it was thought through; for others, and for a text without such a place, the whole text is tokenized:
 *
 * <ul>
 *   <li>normalizers that look at single characters or at what combines with them (a blank combines with no letter in
 *       front of it), or that replace texts which cannot reach over the blank;
 *   <li>pre-tokenizers that always split at the blank, and others that look at neighbours only;
 *   <li>no added token with a blank inside, since it could reach over the place; tokens that take blanks along are
 *       harmless in front of the place, behind it they are not.
 * </ul>
 */
public final class SafeCuts {
    private static final char META = '\u2581';
    /** A letter that joins the character behind it, whatever that is, into one grapheme. */
    private static final char JOINS_NEXT = '\u0d4e';

    private final boolean blanks;
    private final boolean chinese;
    /** Punctuation marks that are words by themselves and in no added token. */
    private final String marks;

    private final boolean fromEnd;
    private final List<CharacterMap> maps;

    private SafeCuts(boolean blanks, boolean chinese, String marks, boolean fromEnd, List<CharacterMap> maps) {
        this.blanks = blanks;
        this.chinese = chinese;
        this.marks = marks;
        this.fromEnd = fromEnd;
        this.maps = maps;
    }

    /** The places for texts of this tokenizer. */
    public static SafeCuts of(TokenizerDocument document) {
        Map<String, @Nullable Object> normalizer = document.normalizer();
        Map<String, @Nullable Object> preTokenizer = document.preTokenizer();
        Image image = new Image();
        boolean blanks = (normalizer == null || image.through(normalizer))
                && preTokenizer != null
                && splits(flat(preTokenizer), image.blank)
                && document.added().stream().allMatch(token -> harmless(token, normalizer, image));
        boolean bert = blanks && normalizer != null && Erasing.type(normalizer).equals("BertNormalizer");
        boolean chinese = bert
                && Boolean.TRUE.equals(normalizer.get("handle_chinese_chars"))
                && document.added().stream()
                        .noneMatch(token -> token.content().chars().anyMatch(SafeCuts::isChinese));
        boolean single =
                bert && preTokenizer != null && Erasing.type(preTokenizer).equals("BertPreTokenizer");
        String marks = single ? marks(document) : "";
        boolean fromEnd = !image.prepends && document.added().stream().noneMatch(AddedToken::rstrip);
        return new SafeCuts(blanks, chinese, marks, fromEnd, image.maps);
    }

    private static String marks(TokenizerDocument document) {
        StringBuilder marks = new StringBuilder();
        for (char c = '!'; c <= '~'; c++) {
            String mark = String.valueOf(c);
            if (!Character.isLetterOrDigit(c)
                    && document.added().stream()
                            .noneMatch(token -> token.content().contains(mark))) {
                marks.append(c);
            }
        }
        return marks.toString();
    }

    /** The last place after the first half of {@code text[0, end)}; -1 if there is none. */
    public int before(String text, int end) {
        for (int p = end; p > end / 2; p--) {
            if (isPlace(text, p)) {
                return p;
            }
        }
        return -1;
    }

    /** The first place in the first half of {@code text[start, …)}, from which on the text's last tokens can be told; or -1. */
    public int after(String text, int start) {
        for (int p = start; fromEnd && p < start + (text.length() - start) / 2; p++) {
            if (isPlace(text, p)) {
                return p;
            }
        }
        return -1;
    }

    private boolean isPlace(String text, int p) {
        if (!blanks || p < 1 || p + 1 >= text.length()) {
            return false;
        }
        char before = text.charAt(p - 1);
        char here = text.charAt(p);
        if (here == ' ') {
            return Character.isLetterOrDigit(before)
                    && before != JOINS_NEXT
                    && Character.isLetterOrDigit(text.charAt(p + 1))
                    && maps.stream().allMatch(map -> map.leavesAlone(before));
        }
        return (chinese && isChinese(before) && isChinese(here))
                || (marks.indexOf(before) >= 0 && marks.indexOf(here) >= 0);
    }

    private static boolean isChinese(int c) {
        return c >= 0x4E00 && c <= 0x9FFF;
    }

    /** Whether these split at the blank, whatever is around it. */
    private static boolean splits(List<Map<String, @Nullable Object>> preTokenizers, char blank) {
        boolean split = false;
        for (Map<String, @Nullable Object> p : preTokenizers) {
            switch (Erasing.type(p)) {
                case "BertPreTokenizer", "Whitespace", "WhitespaceSplit" -> split |= blank == ' ';
                case "ByteLevel" -> {
                    if (!split && (blank != ' ' || !Boolean.TRUE.equals(p.get("use_regex")))) {
                        return false;
                    }
                    split = true;
                }
                case "Metaspace" -> {
                    boolean here = blank == ' ' || String.valueOf(blank).equals(p.get("replacement"));
                    if (!split && !(here && Boolean.TRUE.equals(p.get("split")))) {
                        return false;
                    }
                    split = true;
                }
                case "Punctuation", "Digits" -> {} // they look at neighbours only
                default -> {
                    return false;
                }
            }
        }
        return split;
    }

    private static List<Map<String, @Nullable Object>> flat(Map<String, @Nullable Object> component) {
        if (!Erasing.type(component).equals("Sequence")) {
            return List.of(component);
        }
        return Erasing.members(component).stream()
                .flatMap(each -> flat(each).stream())
                .toList();
    }

    /** Whether a token cannot be found across the blank. */
    private static boolean harmless(AddedToken token, @Nullable Map<String, @Nullable Object> normalizer, Image image) {
        String content = token.content();
        boolean noBlank = content.indexOf(' ') < 0 && content.indexOf(META) < 0;
        boolean onlyBlanks = content.isBlank() && content.length() > 1;
        if (!token.normalized() || normalizer == null) {
            return noBlank || onlyBlanks;
        }
        return !image.prepends && !image.replaces && content.chars().allMatch(c -> c > ' ' && c <= '~');
    }

    /** What the normalizers make of the blank. */
    private static final class Image {
        private static final Set<String> SINGLE_BLANKS_STAY = Set.of(" {2,}", "  +");
        private final List<CharacterMap> maps = new ArrayList<>();
        private char blank = ' ';
        private boolean prepends;
        private boolean replaces;

        /** Whether the blank and its place go through this one. */
        boolean through(Map<String, @Nullable Object> n) {
            switch (Erasing.type(n)) {
                case "BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt" -> {
                    return true;
                }
                case "Strip" -> {
                    prepends |= Boolean.TRUE.equals(n.get("strip_left")); // the beginning is not as the middle
                    return true;
                }
                case "Prepend" -> {
                    prepends = true;
                    return true;
                }
                case "Precompiled" -> {
                    maps.add(CharacterMap.judged((String) n.get("precompiled_charsmap")));
                    return blank == ' ' && maps.get(maps.size() - 1).leavesAlone(' ');
                }
                case "Sequence" -> {
                    return Erasing.members(n).stream().allMatch(this::through);
                }
                case "Replace" -> {
                    return replace(Erasing.pattern(n), (String) Objects.requireNonNull(n.get("content")));
                }
                default -> {
                    return false;
                }
            }
        }

        private boolean replace(Map<String, @Nullable Object> pattern, String content) {
            if (pattern.get("Regex") instanceof String regex) {
                return blank == ' ' && SINGLE_BLANKS_STAY.contains(regex);
            }
            String text = (String) Objects.requireNonNull(pattern.get("String"));
            if (text.equals(" ") && blank == ' ') {
                blank = content.equals(String.valueOf(META)) ? META : 0;
                return blank == META;
            }
            replaces = true;
            return text.indexOf(blank) < 0
                    && content.indexOf(blank) < 0
                    && content.chars().noneMatch(Character::isWhitespace);
        }
    }
}
