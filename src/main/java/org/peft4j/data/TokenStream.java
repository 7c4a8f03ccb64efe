package org.peft4j.data;

import org.peft4j.data.tokenizer.TokenDecoder;

/**
 * The text of tokens that come one after the other, as a model generates them. What is given never changes later and ends
 * with a whole character; all of it together is what {@link TextTokenizer#decode} makes of all tokens.
 *
 * <p>Not for several threads at the same time. Works on after its tokenizer is closed.
 */
public final class TokenStream {
    private final TokenDecoder.Run run;
    private boolean ended;

    TokenStream(TokenDecoder.Run run) {
        this.run = run;
    }

    /**
     * The text that is certain with the next token, after what was given before; it may be empty.
     *
     * @throws org.peft4j.error.ConfigException if the vocabulary has no such token
     */
    public String feed(int id) {
        if (ended) {
            throw new IllegalStateException("this stream of tokens has ended");
        }
        return run.add(id);
    }

    /** The rest of the text. */
    public String end() {
        if (ended) {
            throw new IllegalStateException("this stream of tokens has ended");
        }
        ended = true;
        return run.end();
    }
}
