package org.peft4j;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.peft4j.data.TokenStream;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.StopStrings;

/** Tokens as pieces of text: held back while a stop text or a character may be on its way. */
final class Pieces implements GenerationListener {
    /** An answer: its text so far, of which so much was told. */
    private static final class Told {
        private final TokenStream stream;
        private final StringBuilder text = new StringBuilder();
        private int to;

        Told(TokenStream stream) {
            this.stream = stream;
        }
    }

    private final int number;
    private final Texts texts;
    private final StopStrings stops;
    private final TextGenerator.Listener listener;
    private final List<Told> answers = new ArrayList<>();

    Pieces(int number, Texts texts, List<String> stop, TextGenerator.Listener listener) {
        this.number = number;
        this.texts = texts;
        this.listener = listener;
        stops = new StopStrings(stop);
    }

    private Told told(int answer) {
        while (answers.size() <= answer) {
            answers.add(new Told(texts.stream()));
        }
        return answers.get(answer);
    }

    @Override
    public void token(int answer, int id) {
        Told told = told(answer);
        String text = told.text.append(told.stream.feed(id)).toString();
        int stop = stops.find(text);
        tell(answer, text, stop >= 0 ? stop : stops.safe(text));
    }

    @Override
    public void note(String text) {
        listener.note(text);
    }

    @Override
    public void done(int answer, Generated generated) {
        String text = Objects.requireNonNull(generated.text());
        tell(answer, text, text.length());
    }

    private void tell(int answer, String text, int to) {
        Told told = told(answer);
        if (to > told.to) {
            String piece = text.substring(told.to, to);
            told.to = to;
            listener.text(number, answer, piece);
        }
    }
}
