package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TokenStream;
import org.peft4j.error.ConfigException;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.generate.StopStrings;
import org.peft4j.lifetime.Lease;
import org.peft4j.metrics.Evaluation;
import org.peft4j.model.GenerationDefaults;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.task.Dataset;
import org.peft4j.train.LoadedTask;

/**
 * Continues texts: a language model with an adapter or without one. Safe from many threads. {@link #close} waits for the calls
 * that run and frees what it opened; later
 * calls are refused with an {@link IllegalStateException}.
 */
public final class TextGenerator implements AutoCloseable {
    private static final int PROMPTS_AT_ONCE = 16;

    /**
     * How texts are continued.
     *
     * @param maxNewTokens the most tokens for a prompt
     * @param temperature logits are divided by it before a token is drawn; 0: the likeliest token is taken, always
     * @param topK only so many of the likeliest tokens can come; 0: all
     * @param topP of the likeliest tokens as many can come as have this probability together; 1: all
     * @param seed of the draws; each prompt of a call has draws of its own
     * @param stop texts at which a continuation ends; they are no part of it
     */
    public record Options(int maxNewTokens, double temperature, int topK, double topP, long seed, List<String> stop) {
        public Options {
            stop = List.copyOf(stop);
            settings(maxNewTokens, temperature, topK, topP, seed, stop, List.of()); // checks
        }

        /** The likeliest tokens, at most 128. */
        public static Options defaults() {
            return new Options(128, 0, 0, 1, 0, List.of());
        }

        /** The same with at most so many new tokens for a prompt. */
        public Options withMaxNewTokens(int value) {
            return new Options(value, temperature, topK, topP, seed, stop);
        }

        /** The same at another temperature; 0 takes the likeliest token. */
        public Options withTemperature(double value) {
            return new Options(maxNewTokens, value, topK, topP, seed, stop);
        }

        /** The same among so many of the likeliest tokens; 0 for all. */
        public Options withTopK(int value) {
            return new Options(maxNewTokens, temperature, value, topP, seed, stop);
        }

        /** The same among the likeliest tokens of this probability together; 1 for all. */
        public Options withTopP(double value) {
            return new Options(maxNewTokens, temperature, topK, value, seed, stop);
        }

        /** The same with other draws. */
        public Options withSeed(long value) {
            return new Options(maxNewTokens, temperature, topK, topP, value, stop);
        }

        /** The same with other texts to end at. */
        public Options withStop(List<String> value) {
            return new Options(maxNewTokens, temperature, topK, topP, seed, value);
        }

        GenerationSettings settings(List<Integer> endTokens) {
            return settings(maxNewTokens, temperature, topK, topP, seed, stop, endTokens);
        }

        private static GenerationSettings settings(
                int maxNewTokens,
                double temperature,
                int topK,
                double topP,
                long seed,
                List<String> stop,
                List<Integer> endTokens) {
            return new GenerationSettings(maxNewTokens, new Sampling(temperature, topK, topP, seed), stop, endTokens);
        }
    }

    /**
     * How a prompt goes on.
     *
     * @param text what follows the prompt
     * @param ids its tokens, without the one that ends texts
     * @param complete whether it ended by itself or at a stop text, not because of the limit of tokens
     */
    public record Continuation(String text, List<Integer> ids, boolean complete) {}

    /** Hears of text as it comes, on the thread that generates. Together the pieces are the continuation's text. */
    @FunctionalInterface
    public interface Listener {
        /**
         * @param prompt number of the prompt that goes on
         * @param piece what is certain now; never half a character
         */
        void text(int prompt, String piece);

        /** Something that a user should know. */
        default void note(String text) {}
    }

    private final LoadedAdapter adapter;
    private final @Nullable BaseModel owned;

    private TextGenerator(LoadedAdapter adapter, @Nullable BaseModel owned) {
        this.adapter = adapter;
        this.owned = owned;
    }

    /** Opens a language model, with an adapter or without one. */
    public static TextGenerator open(Path model, @Nullable Path adapter) throws IOException {
        Objects.requireNonNull(model, "model");
        LoadedAdapter.Options options = LoadedAdapter.Options.defaults().withTask(CausalLmConfig.TYPE);
        BaseModel base = BaseModel.open(model);
        try {
            return new TextGenerator(
                    adapter == null ? base.plain(options) : base.load("the adapter", adapter, options), base);
        } catch (IOException | RuntimeException e) {
            base.close();
            throw e;
        }
    }

    /** A generator on a model that is open already; closing it closes neither adapter nor model. */
    public static TextGenerator of(LoadedAdapter adapter) {
        Faces.check(adapter, CausalLmConfig.TYPE);
        return new TextGenerator(adapter, null);
    }

    /** Continues a text with the likeliest tokens. */
    public String generate(String prompt) {
        return generate(List.of(prompt), Options.defaults()).get(0).text();
    }

    /** Continues texts. */
    public List<Continuation> generate(List<String> prompts, Options options) {
        return generate(prompts, options, (prompt, piece) -> {});
    }

    /**
     * Continues texts; all of them together, {@value #PROMPTS_AT_ONCE} at once. A prompt is never cut.
     *
     * @throws ConfigException if a prompt has no token, or more than the model has positions for, or more than a
     *     {@code max_length} that the adapter was loaded with
     */
    public List<Continuation> generate(List<String> prompts, Options options, Listener listener) {
        return generate(prompts, Collections.nCopies(prompts.size(), adapter), options, listener);
    }

    /**
     * Continues texts, each with an adapter of its own, all of one model.
     *
     * @param adapterOf for each prompt its adapter, loaded for language modelling
     */
    public static List<Continuation> generate(
            List<String> prompts, List<LoadedAdapter> adapterOf, Options options, Listener listener) {
        Objects.requireNonNull(options, "options");
        Objects.requireNonNull(listener, "listener");
        if (prompts.size() != adapterOf.size()) {
            throw new IllegalArgumentException(
                    prompts.size() + " prompts need as many adapters, got " + adapterOf.size());
        }
        List<Continuation> all = new ArrayList<>();
        for (int from = 0; from < prompts.size(); from += PROMPTS_AT_ONCE) {
            int to = Math.min(prompts.size(), from + PROMPTS_AT_ONCE);
            int first = from;
            all.addAll(some(
                    prompts.subList(from, to),
                    adapterOf.subList(from, to),
                    from,
                    options,
                    listener,
                    i -> "prompt " + (first + i + 1) + " of " + prompts.size()));
        }
        return all;
    }

    private static List<Continuation> some(
            List<String> prompts,
            List<LoadedAdapter> adapterOf,
            int first,
            Options options,
            Listener listener,
            IntFunction<String> where) {
        List<Lease.Held> held = new ArrayList<>();
        BaseModel base = adapterOf.get(0).base();
        try (Lease.Held own = base.take()) {
            List<Prompt> ids = new ArrayList<>();
            for (int i = 0; i < prompts.size(); i++) {
                LoadedAdapter adapter = adapterOf.get(i);
                Faces.check(adapter, CausalLmConfig.TYPE);
                if (adapter.base() != base) {
                    throw new IllegalArgumentException(
                            "adapter '" + adapter.name() + "' is loaded on another model; load it on this one");
                }
                held.add(adapter.take());
                LoadedTask<?> task = adapter.loaded();
                int[] tokens = task.tokenizer().encodeWhole(prompts.get(i));
                check(tokens, task, where, i);
                ids.add(new Prompt(tokens, task.adapter(), first + i));
            }
            LoadedTask<?> task = adapterOf.get(0).loaded();
            TextTokenizer tokenizer = task.tokenizer();
            Generator generator = new Generator(
                    base.opened().model(), (LanguageHead) task.model().head());
            List<Integer> end =
                    GenerationDefaults.read(base.opened().directory()).endTokens();
            Pieces pieces = new Pieces(tokenizer, ids, first, options.stop(), listener);
            return generator
                    .generate(ids, options.settings(end), (prompt, fresh) -> text(tokenizer, prompt, fresh), pieces)
                    .stream()
                    .map(TextGenerator::continuation)
                    .toList();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        } finally {
            held.forEach(Lease.Held::close);
        }
    }

    private static void check(int[] tokens, LoadedTask<?> task, IntFunction<String> where, int prompt) {
        ModelInfo info = task.model().model().info();
        if (tokens.length == 0) {
            throw new ConfigException(where.apply(prompt)
                    + ": the tokenizer makes no token of this text, and without one" + " there is nothing to continue");
        }
        Dataset.checkVocabulary(tokens, info.vocabulary(), where, prompt);
        Adapter adapter = task.adapter();
        int taken = adapter == null ? 0 : adapter.positions();
        if (info.limited() && tokens.length > info.maxPositions() - taken) {
            throw new ConfigException(where.apply(prompt) + ": a prompt must have at most "
                    + (info.maxPositions() - taken)
                    + " tokens (" + info.maxPositions() + " positions, " + taken + " taken by the adapter), has "
                    + tokens.length + "; shorten it");
        }
        OptionalInt asked = task.askedLength();
        if (asked.isPresent() && tokens.length > asked.getAsInt()) {
            throw new ConfigException(where.apply(prompt) + ": a prompt must have at most " + asked.getAsInt()
                    + " tokens (max_length), has " + tokens.length + "; shorten it, or allow more");
        }
    }

    /** What new tokens add to the prompt's text; a word's blank is there, which tokens by themselves would lose. */
    private static String text(TextTokenizer tokenizer, Prompt prompt, int[] fresh) {
        int[] ids = new int[prompt.ids().length + fresh.length];
        System.arraycopy(prompt.ids(), 0, ids, 0, prompt.ids().length);
        System.arraycopy(fresh, 0, ids, prompt.ids().length, fresh.length);
        String before = tokenizer.decode(prompt.ids(), true);
        String all = tokenizer.decode(ids, true);
        return all.startsWith(before) ? all.substring(before.length()) : tokenizer.decode(fresh, true);
    }

    private static Continuation continuation(Generated generated) {
        List<Integer> ids = new ArrayList<>();
        for (int id : generated.ids()) {
            ids.add(id);
        }
        return new Continuation(
                Objects.requireNonNull(generated.text()), ids, generated.reason() != Generated.Reason.LENGTH);
    }

    /** Tokens as pieces of text: held back while a stop text or a character may be on its way. */
    private static final class Pieces implements GenerationListener {
        private final int first;
        private final StopStrings stops;
        private final Listener listener;
        private final List<TokenStream> streams = new ArrayList<>();
        private final List<StringBuilder> texts = new ArrayList<>();
        private final int[] told;

        Pieces(TextTokenizer tokenizer, List<Prompt> prompts, int first, List<String> stop, Listener listener) {
            this.first = first;
            this.listener = listener;
            stops = new StopStrings(stop);
            told = new int[prompts.size()];
            for (Prompt prompt : prompts) {
                TokenStream stream = tokenizer.stream(true);
                for (int id : prompt.ids()) {
                    stream.feed(id);
                }
                streams.add(stream);
                texts.add(new StringBuilder());
            }
        }

        @Override
        public void token(int prompt, int id) {
            String text = texts.get(prompt).append(streams.get(prompt).feed(id)).toString();
            int stop = stops.find(text);
            tell(prompt, text, stop >= 0 ? stop : stops.safe(text));
        }

        @Override
        public void note(String text) {
            listener.note(text);
        }

        @Override
        public void done(int prompt, Generated generated) {
            String text = Objects.requireNonNull(generated.text());
            tell(prompt, text, text.length());
        }

        private void tell(int prompt, String text, int to) {
            if (to > told[prompt]) {
                String piece = text.substring(told[prompt], to);
                told[prompt] = to;
                listener.text(first + prompt, piece);
            }
        }
    }

    /**
     * Continues the prompts of a file's rows (JSONL, CSV, TSV; {@code -} is standard input), some at once, in order: the column
     * of the prompt, else that of the text.
     *
     * @param receiver gets each row's columns and how it goes on
     */
    public void generate(Path data, Options options, BiConsumer<Map<String, @Nullable Object>, Continuation> receiver)
            throws IOException {
        generate(data, options, receiver, note -> {});
    }

    /** The same; {@code notes} hears what a user should know, each thing once. */
    public void generate(
            Path data,
            Options options,
            BiConsumer<Map<String, @Nullable Object>, Continuation> receiver,
            Consumer<String> notes)
            throws IOException {
        Objects.requireNonNull(notes, "notes");
        Set<String> told = new HashSet<>();
        Listener listener = new Listener() {
            @Override
            public void text(int prompt, String piece) {}

            @Override
            public void note(String text) {
                if (told.add(text)) {
                    notes.accept(text);
                }
            }
        };
        Objects.requireNonNull(data, "data");
        Objects.requireNonNull(receiver, "receiver");
        CausalLmConfig task = (CausalLmConfig) adapter.task();
        List<Row> rows = new ArrayList<>();
        long done = 0;
        try (RowReader reader = RowReader.open(data, List.of())) {
            Row row = reader.next();
            while (row != null) {
                rows.add(row);
                row = reader.next();
                if (row == null || rows.size() == PROMPTS_AT_ONCE) {
                    List<String> prompts = rows.stream()
                            .map(one -> one.text(
                                    one.has(task.prompt()) || !one.has(task.text()) ? task.prompt() : task.text()))
                            .toList();
                    List<Continuation> all = some(
                            prompts,
                            Collections.nCopies(prompts.size(), adapter),
                            Math.toIntExact(done),
                            options,
                            listener,
                            i -> rows.get(i).where());
                    for (int i = 0; i < all.size(); i++) {
                        receiver.accept(rows.get(i).fields(), all.get(i));
                    }
                    done += rows.size();
                    rows.clear();
                }
            }
        }
    }

    /** Loss and perplexity on rows with a text, or with a prompt and a response. */
    public Evaluation evaluate(Path data) throws IOException {
        return adapter.evaluate(data, PROMPTS_AT_ONCE);
    }

    /** What a user should know about model and adapter. */
    public List<String> notes() {
        return Faces.notes(adapter, owned);
    }

    /** Frees what it opened, once no call uses it. Closing twice does nothing. */
    @Override
    public void close() {
        if (owned != null) {
            owned.close();
        }
    }
}
