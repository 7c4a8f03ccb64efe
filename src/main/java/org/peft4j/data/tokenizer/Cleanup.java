package org.peft4j.data.tokenizer;

import java.util.List;
import org.peft4j.data.tokenizer.DecodeStep.Sink;

/** Takes away blanks that tokens have between them and texts have not: "do n't ." becomes "don't.". */
final class Cleanup {
    /** What loses its first blank, in this order, as transformers has it. */
    private static final List<String> BLANKS =
            List.of(" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're");

    private Cleanup() {}

    /** As the library's decoders do it. */
    static String ofTokens(String text) {
        String cleaned = text;
        for (String blank : BLANKS) {
            cleaned = cleaned.replace(blank, blank.strip());
            if (blank.equals(" 'm")) {
                cleaned = cleaned.replace(" do not", " don't");
            }
        }
        return cleaned;
    }

    /** As transformers does it with a whole text. */
    static String ofText(String text) {
        String cleaned = text;
        for (String blank : BLANKS) {
            cleaned = cleaned.replace(blank, blank.strip());
        }
        return cleaned;
    }

    /**
     * The same for a text that comes in pieces. What stands in front of a blank behind a letter is certain: no replaced text
     * reaches over that place, not even after others were replaced; but " n" may, if " ' t" follows.
     */
    static Sink ofPieces(Sink next) {
        return new Sink() {
            private final StringBuilder open = new StringBuilder();

            @Override
            public void token(String piece) {
                open.append(piece);
                for (int p = open.length() - 1; p > 0; p--) {
                    char before = open.charAt(p - 1);
                    if (open.charAt(p) == ' ' && Character.isLetterOrDigit(before) && before != 'n') {
                        next.token(ofText(open.substring(0, p)));
                        open.delete(0, p);
                        return;
                    }
                }
            }

            @Override
            public void end() {
                next.token(ofText(open.toString()));
                next.end();
            }
        };
    }
}
