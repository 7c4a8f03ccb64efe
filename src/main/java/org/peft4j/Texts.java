package org.peft4j;

import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TokenStream;
import org.peft4j.generate.Decoder;
import org.peft4j.generate.Prompt;

/** What new tokens add to a prompt's text; a word's blank is there, which tokens by themselves would lose. */
final class Texts implements Decoder {
    private final TextTokenizer tokenizer;
    private final int[] prompt;
    private final String before;

    Texts(TextTokenizer tokenizer, int[] prompt) {
        this.tokenizer = tokenizer;
        this.prompt = prompt;
        before = tokenizer.decode(prompt, true);
    }

    @Override
    public String text(Prompt of, int[] fresh) {
        int[] ids = new int[prompt.length + fresh.length];
        System.arraycopy(prompt, 0, ids, 0, prompt.length);
        System.arraycopy(fresh, 0, ids, prompt.length, fresh.length);
        String all = tokenizer.decode(ids, true);
        return all.startsWith(before) ? all.substring(before.length()) : tokenizer.decode(fresh, true);
    }

    TokenStream stream() {
        TokenStream stream = tokenizer.stream(true);
        for (int id : prompt) {
            stream.feed(id);
        }
        return stream;
    }
}
