package org.peft4j.data.chat;

import java.util.List;
import org.peft4j.data.template.ChatTemplate.Span;
import org.peft4j.data.tokenizer.NativeTokenizer.Placed;

/**
 * Which tokens of a rendered conversation are the assistant's, as transformers' {@code return_assistant_tokens_mask} has them:
 * of each span those from the token that its first character is in to the one that its last character is in. A token across a
 * span's edge is the assistant's as a whole; of a last character of several tokens the first one counts alone. Where the
 * tokenizer drops the character at an edge, a blank for example, the nearest token inside of the span takes its place;
 * transformers then takes all tokens to the end of the text, or none.
 */
public final class AssistantTokens {
    private AssistantTokens() {}

    /** For each token whether it is the assistant's. */
    public static boolean[] of(String text, Placed tokens, List<Span> spans) {
        boolean[] mask = new boolean[tokens.tokens().length];
        int character = 0;
        int codePoint = 0;
        for (Span span : spans) { // in order, so that the text is counted once
            int begin = codePoint + text.codePointCount(character, span.begin());
            int end = begin + text.codePointCount(span.begin(), span.end());
            character = span.end();
            codePoint = end;
            int last = last(tokens, end - 1, begin);
            for (int token = first(tokens, begin); token <= last; token++) {
                mask[token] = true;
            }
        }
        return mask;
    }

    /** The token of a character, or the first one behind it. */
    private static int first(Placed tokens, int place) {
        for (int token = 0; token < tokens.tokens().length; token++) {
            if (tokens.ends()[token] > place) {
                return token;
            }
        }
        return tokens.tokens().length;
    }

    /** The token of a character, or the last one before it that is not before {@code begin}. */
    private static int last(Placed tokens, int place, int begin) {
        int last = -1;
        for (int token = 0; token < tokens.tokens().length; token++) {
            if (tokens.begins()[token] <= place && place < tokens.ends()[token]) {
                return token;
            }
            if (begin < tokens.ends()[token] && tokens.ends()[token] <= place) {
                last = token;
            }
        }
        return last;
    }
}
