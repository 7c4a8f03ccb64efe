package org.peft4j;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TokenStream;
import org.peft4j.error.ConfigException;
import org.peft4j.generate.Decoder;
import org.peft4j.generate.Engine;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Request;
import org.peft4j.generate.StopStrings;
import org.peft4j.lifetime.Lease;
import org.peft4j.model.GenerationDefaults;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.task.Dataset;
import org.peft4j.train.LoadedTask;

/** An {@link Engine} that takes texts and gives texts; holds what it uses until it is closed. Belongs to one thread. */
final class TextEngine implements AutoCloseable {
    private final BaseModel base;
    private final GenerationSettings settings;
    private final List<Lease.Held> held = new ArrayList<>();
    private final Set<LoadedAdapter> known = Collections.newSetFromMap(new IdentityHashMap<>());
    private final TextTokenizer tokenizer;
    private final Engine engine;

    /** @param first one of the adapters; all are of its model */
    TextEngine(LoadedAdapter first, TextGenerator.Options options) {
        base = first.base();
        held.add(base.take());
        try {
            take(first);
            LoadedTask<?> task = first.loaded();
            tokenizer = task.tokenizer();
            settings = options.settings(
                    GenerationDefaults.read(base.opened().directory()).endTokens());
            engine = new Engine(
                    base.opened().model(), (LanguageHead) task.model().head(), options.limits());
        } catch (IOException | RuntimeException e) {
            held.forEach(Lease.Held::close);
            throw e instanceof IOException io ? new UncheckedIOException(io) : (RuntimeException) e;
        }
    }

    private void take(LoadedAdapter adapter) {
        Faces.check(adapter, CausalLmConfig.TYPE);
        if (adapter.base() != base) {
            throw new IllegalArgumentException(
                    "adapter '" + adapter.name() + "' is loaded on another model; load it on this one");
        }
        if (!known.contains(adapter)) {
            held.add(adapter.take());
            known.add(adapter);
        }
    }

    /**
     * Adds a text.
     *
     * @param number says what is drawn for it
     * @param name what it is called in messages
     * @param listener hears of it
     */
    Request add(String text, LoadedAdapter adapter, int number, String name, TextGenerator.Listener listener) {
        take(adapter);
        LoadedTask<?> task = adapter.loaded();
        int[] ids = task.tokenizer().encodeWhole(text);
        check(ids, task, name);
        Texts texts = new Texts(tokenizer, ids);
        return engine.add(
                new Prompt(ids, task.adapter(), number, name),
                settings,
                texts,
                new Pieces(number, texts, settings.stop(), listener));
    }

    Engine engine() {
        return engine;
    }

    private static void check(int[] tokens, LoadedTask<?> task, String name) {
        ModelInfo info = task.model().model().info();
        if (tokens.length == 0) {
            throw new ConfigException(name + ": the tokenizer makes no token of this text, and without one"
                    + " there is nothing to continue");
        }
        Dataset.checkVocabulary(tokens, info.vocabulary(), i -> name, 0);
        Adapter adapter = task.adapter();
        int taken = adapter == null ? 0 : adapter.positions();
        if (info.limited() && tokens.length > info.maxPositions() - taken) {
            throw new ConfigException(name + ": a prompt must have at most " + (info.maxPositions() - taken)
                    + " tokens (" + info.maxPositions() + " positions, " + taken + " taken by the adapter), has "
                    + tokens.length + "; shorten it");
        }
        OptionalInt asked = task.askedLength();
        if (asked.isPresent() && tokens.length > asked.getAsInt()) {
            throw new ConfigException(name + ": a prompt must have at most " + asked.getAsInt()
                    + " tokens (max_length), has " + tokens.length + "; shorten it, or allow more");
        }
    }

    static List<TextGenerator.Continuation> continuations(Request request) {
        return request.answers().stream().map(TextEngine::continuation).toList();
    }

    private static TextGenerator.Continuation continuation(Generated generated) {
        List<Integer> ids = new ArrayList<>();
        for (int id : generated.ids()) {
            ids.add(id);
        }
        return new TextGenerator.Continuation(
                Objects.requireNonNull(generated.text()),
                ids,
                generated.reason() != Generated.Reason.LENGTH,
                listed(generated.logProbs()));
    }

    private static @Nullable List<Double> listed(double @Nullable [] values) {
        if (values == null) {
            return null;
        }
        List<Double> listed = new ArrayList<>();
        for (double value : values) {
            listed.add(value);
        }
        return listed;
    }

    /** What new tokens add to a prompt's text; a word's blank is there, which tokens by themselves would lose. */
    private static final class Texts implements Decoder {
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

    /** Tokens as pieces of text: held back while a stop text or a character may be on its way. */
    private static final class Pieces implements GenerationListener {
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

    /** Ends what goes on. */
    @Override
    public void close() {
        engine.close();
        held.forEach(Lease.Held::close);
    }
}
