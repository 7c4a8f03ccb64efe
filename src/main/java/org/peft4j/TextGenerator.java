package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.chat.Conversation;
import org.peft4j.error.ConfigException;
import org.peft4j.generate.Answers;
import org.peft4j.generate.BeamSearch;
import org.peft4j.generate.Engine;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Penalties;
import org.peft4j.generate.Request;
import org.peft4j.generate.Sampling;
import org.peft4j.lifetime.Lease;
import org.peft4j.metrics.Evaluation;
import org.peft4j.model.SuggestedGeneration;

/**
 * Continues texts: a language model with an adapter or without one. Safe from many threads. {@link #close} waits for the calls
 * that run and frees what it opened; later
 * calls are refused with an {@link IllegalStateException}.
 */
public final class TextGenerator implements AutoCloseable {
    private static final int EVALUATED_AT_ONCE = 16;

    /** Times the sequences that are computed at once: so many rows may be read and not written yet. */
    private static final int ROWS_AHEAD = 16;

    /**
     * How texts are continued: the likeliest tokens, at most 128, unless something else is said. Each {@code with…} gives other
     * options and leaves these as they are, and refuses a value that is wrong by itself ({@link ConfigException}). What changes the model's distribution works in this order, as in transformers:
     * repetition, frequency and presence penalty, temperature, top-k, top-p, min-p.
     */
    public static final class Options {
        private static final int SEQUENCES = 16;

        private final GenerationSettings settings;
        private final int batchSize;
        private final long cacheBytes;

        private Options(GenerationSettings settings, int batchSize, long cacheBytes) {
            this.settings = settings;
            this.batchSize = batchSize;
            this.cacheBytes = cacheBytes;
        }

        /** The likeliest tokens, at most 128. */
        public static Options defaults() {
            return new Options(new GenerationSettings(128, Sampling.GREEDY, List.of(), List.of()), SEQUENCES, 0);
        }

        private Options with(GenerationSettings other) {
            return new Options(other, batchSize, cacheBytes);
        }

        private Options with(Sampling sampling) {
            GenerationSettings own = settings;
            return with(new GenerationSettings(
                    own.maxNewTokens(), sampling, own.answers(), own.stop(), List.of(), own.logProbs()));
        }

        private Options with(Penalties penalties) {
            Sampling own = settings.sampling();
            return with(new Sampling(own.temperature(), own.topK(), own.topP(), own.minP(), penalties, own.seed()));
        }

        private Options with(Answers answers) {
            GenerationSettings own = settings;
            return with(new GenerationSettings(
                    own.maxNewTokens(), own.sampling(), answers, own.stop(), List.of(), own.logProbs()));
        }

        /** The same with at most so many new tokens for an answer. */
        public Options withMaxNewTokens(int value) {
            GenerationSettings own = settings;
            return with(new GenerationSettings(
                    value, own.sampling(), own.answers(), own.stop(), List.of(), own.logProbs()));
        }

        /** The same at another temperature: logits are divided by it before a token is drawn; 0 takes the likeliest token. */
        public Options withTemperature(double value) {
            Sampling own = settings.sampling();
            return with(new Sampling(value, own.topK(), own.topP(), own.minP(), own.penalties(), own.seed()));
        }

        /** The same among so many of the likeliest tokens; 0 for all. */
        public Options withTopK(int value) {
            Sampling own = settings.sampling();
            return with(new Sampling(own.temperature(), value, own.topP(), own.minP(), own.penalties(), own.seed()));
        }

        /** The same among the likeliest tokens of this probability together; 1 for all. */
        public Options withTopP(double value) {
            Sampling own = settings.sampling();
            return with(new Sampling(own.temperature(), own.topK(), value, own.minP(), own.penalties(), own.seed()));
        }

        /** The same among tokens that have at least this share of the likeliest one's probability; 0 for all. */
        public Options withMinP(double value) {
            Sampling own = settings.sampling();
            return with(new Sampling(own.temperature(), own.topK(), own.topP(), value, own.penalties(), own.seed()));
        }

        /** The same with other draws; each prompt of a call, and each of its answers, has draws of its own. */
        public Options withSeed(long value) {
            Sampling own = settings.sampling();
            return with(new Sampling(own.temperature(), own.topK(), own.topP(), own.minP(), own.penalties(), value));
        }

        /**
         * The same with another repetition penalty: scores above 0 of tokens that are in the prompt or the answer are divided by it,
         * those below multiplied; 1 for none.
         */
        public Options withRepetitionPenalty(double value) {
            Penalties own = settings.sampling().penalties();
            return with(new Penalties(value, own.frequency(), own.presence()));
        }

        /** The same with another frequency penalty: taken from a token's score for each time that the answer has it; 0 for none. */
        public Options withFrequencyPenalty(double value) {
            Penalties own = settings.sampling().penalties();
            return with(new Penalties(own.repetition(), value, own.presence()));
        }

        /** The same with another presence penalty: taken from the score of each token that the answer has; 0 for none. */
        public Options withPresencePenalty(double value) {
            Penalties own = settings.sampling().penalties();
            return with(new Penalties(own.repetition(), own.frequency(), value));
        }

        /**
         * The same with so many answers for each prompt: drawn by a temperature above 0, or the best ones of a search. The prompt
         * is computed once for all of them. See {@link TextGenerator#answers}.
         */
        public Options withN(int value) {
            return with(new Answers(value, settings.answers().search()));
        }

        /**
         * The same by beam search, as transformers' {@code num_beams} does it: so many continuations go on side by side, and the
         * likeliest as a whole is the answer. Nothing is drawn.
         *
         * @param value at least 1, which is no search
         */
        public Options withBeams(int value) {
            BeamSearch own = search().orElse(BeamSearch.of(2));
            return with(new Answers(
                    settings.answers().n(),
                    value == 1 ? null : new BeamSearch(value, own.lengthPenalty(), own.earlyStopping())));
        }

        /**
         * The same with another length penalty of a beam search: 1, the default, compares answers by their mean log-probability, more
         * prefers longer ones, less shorter ones.
         *
         * @throws ConfigException if these options have no beams
         */
        public Options withLengthPenalty(double value) {
            BeamSearch own = search().orElseThrow(() -> needsBeams("length_penalty"));
            return with(new Answers(settings.answers().n(), new BeamSearch(own.beams(), value, own.earlyStopping())));
        }

        /**
         * The same with another end of a beam search; {@link EarlyStopping#NO} is the default.
         *
         * @throws ConfigException if these options have no beams
         */
        public Options withEarlyStopping(EarlyStopping value) {
            Objects.requireNonNull(value, "value");
            BeamSearch own = search().orElseThrow(() -> needsBeams("early_stopping"));
            return with(new Answers(
                    settings.answers().n(),
                    new BeamSearch(own.beams(), own.lengthPenalty(), BeamSearch.EarlyStopping.valueOf(value.name()))));
        }

        private Optional<BeamSearch> search() {
            return Optional.ofNullable(settings.answers().search());
        }

        private static ConfigException needsBeams(String name) {
            return new ConfigException(name + " is of a beam search; set num_beams above 1 first, or leave it out");
        }

        /** The same with other texts at which an answer ends; they are no part of it. */
        public Options withStop(List<String> value) {
            GenerationSettings own = settings;
            return with(new GenerationSettings(
                    own.maxNewTokens(), own.sampling(), own.answers(), value, List.of(), own.logProbs()));
        }

        /** The same with the log-probabilities of the tokens, or without. */
        public Options withLogProbs(boolean value) {
            GenerationSettings own = settings;
            return with(new GenerationSettings(
                    own.maxNewTokens(), own.sampling(), own.answers(), own.stop(), List.of(), value));
        }

        /** The same with so many answers computed at once, beams counted each; 16 unless said, and never fewer than one prompt needs. */
        public Options withBatchSize(int value) {
            if (value < 1) {
                throw new ConfigException("batch_size must be at least 1, got " + value);
            }
            return new Options(settings, value, cacheBytes);
        }

        /**
         * The same with at most so much memory for keys and values; prompts wait for it. 0: four fifths of what the machine has beside
         * the model. Memory is taken as it is needed.
         */
        public Options withCacheBytes(long value) {
            Options made = new Options(settings, batchSize, value);
            made.limits(); // checks
            return made;
        }

        /** Answers for each prompt. */
        public int n() {
            return settings.answers().n();
        }

        /**
         * Refuses what makes no sense together, such as a temperature and beams; every call that generates does so first.
         *
         * @throws ConfigException that names it
         */
        public void check() {
            settings.checkTogether();
        }

        Engine.Limits limits() {
            int width = search().map(BeamSearch::beams).orElse(n());
            return new Engine.Limits(Math.max(batchSize, width), cacheBytes);
        }

        GenerationSettings settings(List<Integer> endTokens) {
            return new GenerationSettings(
                    settings.maxNewTokens(),
                    settings.sampling(),
                    settings.answers(),
                    settings.stop(),
                    endTokens,
                    settings.logProbs());
        }
    }

    /** When a beam search ends before the limit of tokens: transformers' {@code early_stopping}. */
    public enum EarlyStopping {
        /** As soon as as many continuations ended as there are beams. */
        YES,
        /** When the best one that goes on would not be among those that ended, were it to end now. */
        NO,
        /** When no one that goes on could ever be among them. */
        NEVER
    }

    /**
     * How a prompt goes on.
     *
     * @param text what follows the prompt
     * @param ids its tokens, without the one that ends texts
     * @param complete whether it ended by itself or at a stop text, not because of the limit of tokens
     * @param logProbs of each of the ids the natural logarithm of its probability, as the model gave it: before penalties,
     *     temperature and limits; null unless asked for
     */
    public record Continuation(
            String text,
            List<Integer> ids,
            boolean complete,
            @Nullable List<Double> logProbs) {}

    /** Hears of text as it comes, on the thread that generates. Together the pieces are the continuation's text. */
    @FunctionalInterface
    public interface Listener {
        /**
         * @param prompt number of the prompt that goes on
         * @param piece what is certain now; never half a character
         */
        void text(int prompt, String piece);

        /**
         * The same of one of several answers; unless this is overridden only the first one is told. The text of a search comes when
         * it has ended.
         *
         * @param answer number of the answer, from 0
         */
        default void text(int prompt, int answer, String piece) {
            if (answer == 0) {
                text(prompt, piece);
            }
        }

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
        BaseModel base = BaseModel.open(ModelConfig.of(model), adapter);
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

    /** Continues texts, each once. */
    public List<Continuation> generate(List<String> prompts, Options options) {
        return generate(prompts, options, (prompt, piece) -> {});
    }

    /**
     * Continues texts, each once. A prompt is never cut.
     *
     * @throws ConfigException if a prompt has no token, or more than the model has positions for, or more than a
     *     {@code max_length} that the adapter was loaded with; or the options want several answers ({@link #answers})
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
        checkOne(options);
        return answers(prompts, adapterOf, options, listener).stream()
                .map(answers -> answers.get(0))
                .toList();
    }

    /**
     * The options that the model's {@code generation_config.json} suggests, with transformers' defaults for what it leaves out; the
     * length of answers is 128 tokens unless it says another.
     *
     * @throws org.peft4j.error.MalformedFileException if it asks for something that is not done here
     * @throws ConfigException if there is no such file
     */
    public Options suggestedOptions(Consumer<String> notes) throws IOException {
        SuggestedGeneration suggested;
        try (Lease.Held held = adapter.base().take()) {
            suggested = SuggestedGeneration.read(adapter.base().opened().directory());
        }
        suggested.notes().forEach(notes);
        EarlyStopping early = switch (suggested.search().earlyStopping()) {
            case "true" -> EarlyStopping.YES;
            case "never" -> EarlyStopping.NEVER;
            default -> EarlyStopping.NO;
        };
        Options options = Options.defaults()
                .withRepetitionPenalty(suggested.repetitionPenalty())
                .withBeams(suggested.search().beams())
                .withN(suggested.answers())
                .withStop(suggested.limits().stop());
        if (suggested.search().beams() > 1) {
            options = options.withLengthPenalty(suggested.search().lengthPenalty())
                    .withEarlyStopping(early);
        }
        Integer most = suggested.limits().maxNewTokens();
        options = most == null ? options : options.withMaxNewTokens(most);
        SuggestedGeneration.Draws draws = suggested.draws();
        return draws == null
                ? options
                : options.withTemperature(draws.temperature())
                        .withTopK(draws.topK())
                        .withTopP(draws.topP())
                        .withMinP(draws.minP());
    }

    private static void checkOne(Options options) {
        if (Objects.requireNonNull(options, "options").n() > 1) {
            throw new IllegalArgumentException(
                    "generate gives one answer for a prompt, n is " + options.n() + "; call answers, which gives all");
        }
    }

    /** Continues texts: for each prompt {@code n} answers ({@link Options#withN}), of a search the best first. */
    public List<List<Continuation>> answers(List<String> prompts, Options options) {
        return answers(prompts, options, (prompt, piece) -> {});
    }

    /** The same, and tells of text as it comes. */
    public List<List<Continuation>> answers(List<String> prompts, Options options, Listener listener) {
        return answers(prompts, Collections.nCopies(prompts.size(), adapter), options, listener);
    }

    /** The same, each with an adapter of its own, all of one model. */
    public static List<List<Continuation>> answers(
            List<String> prompts, List<LoadedAdapter> adapterOf, Options options, Listener listener) {
        Objects.requireNonNull(options, "options");
        Objects.requireNonNull(listener, "listener");
        if (prompts.size() != adapterOf.size()) {
            throw new IllegalArgumentException(
                    prompts.size() + " prompts need as many adapters, got " + adapterOf.size());
        }
        options.check();
        if (prompts.isEmpty()) {
            return List.of();
        }
        try (TextEngine texts = new TextEngine(adapterOf.get(0), options)) {
            List<Request> requests = new ArrayList<>();
            for (int i = 0; i < prompts.size(); i++) {
                String name = "prompt " + (i + 1) + " of " + prompts.size();
                requests.add(texts.add(TextEngine.Asked.text(prompts.get(i)), adapterOf.get(i), i, name, listener));
            }
            texts.engine().run();
            return requests.stream().map(TextEngine::continuations).toList();
        }
    }

    /**
     * Continues the rows of a file (JSONL, CSV, TSV; {@code -} is standard input), each once, in order. They have the forms that
     * training takes, with the answer or without it: a text or a prompt goes on; a conversation ({@code messages},
     * {@code conversations}, an {@code instruction}, or a prompt beside a completion, where there is a chat template) gets an answer
     * as {@link #reply} gives it. The last turns of the assistant, and what is in the columns of answers, are what is to be generated,
     * and are not given.
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
        Objects.requireNonNull(receiver, "receiver");
        checkOne(options);
        answers(data, options, (row, answers) -> receiver.accept(row, answers.get(0)), notes);
    }

    /**
     * The same with all answers of each row. Rows are read as earlier ones end, and a row that takes long keeps only what is
     * written in order from being written: those behind it go on. No answer waits for a row that is not written yet, so that a
     * program may write lines of JSON into a pipe one by one, each when it has the answer to the one before.
     */
    public void answers(
            Path data,
            Options options,
            BiConsumer<Map<String, @Nullable Object>, List<Continuation>> receiver,
            Consumer<String> notes)
            throws IOException {
        Objects.requireNonNull(data, "data");
        Objects.requireNonNull(options, "options");
        Objects.requireNonNull(receiver, "receiver");
        options.check();
        Listener listener = once(Objects.requireNonNull(notes, "notes"));
        int ahead = ROWS_AHEAD * options.limits().sequences();
        Deque<Going> going = new ArrayDeque<>();
        int number = 0;
        try (RowReader reader = RowReader.open(data, adapter.loaded().task().columns());
                TextEngine texts = new TextEngine(adapter, options)) {
            boolean more = true;
            while (more || !going.isEmpty()) {
                int room = options.limits().sequences() - texts.engine().load().waiting();
                while (more && room > 0 && going.size() < ahead && (going.isEmpty() || reader.ready())) {
                    Row row = reader.next();
                    if (row == null) {
                        more = false;
                    } else {
                        Request request = texts.add(TextEngine.Asked.row(row), adapter, number, row.where(), listener);
                        going.add(new Going(row, request));
                        number = Math.addExact(number, 1);
                        room--;
                    }
                }
                texts.engine().step();
                while (!going.isEmpty() && going.peek().request().done()) {
                    Going first = going.remove();
                    receiver.accept(first.row().fields(), TextEngine.continuations(first.request()));
                }
            }
        }
    }

    private record Going(Row row, Request request) {}

    private static Listener once(Consumer<String> notes) {
        Set<String> told = new HashSet<>();
        return new Listener() {
            @Override
            public void text(int prompt, String piece) {}

            @Override
            public void note(String text) {
                if (told.add(text)) {
                    notes.accept(text);
                }
            }
        };
    }

    /** As {@link #reply(List, List, Options, Listener)}, without tools. */
    public Continuation reply(
            List<? extends Map<String, ? extends @Nullable Object>> messages, Options options, Listener listener) {
        return reply(messages, null, options, listener);
    }

    /**
     * The assistant's answer to messages, which become text by the chat template. It ends at the model's end tokens, and where the
     * template ends a turn: at the special token that it writes there, or, where it has none, at the text that it writes there.
     *
     * @param messages each with {@code role} and what else the template reads, {@code content} first of all; the last one is not
     *     the assistant's
     * @param tools JSON schemas of the functions that it may call; null for none
     * @throws ConfigException if there is no template, it refuses the messages, or they are more tokens than may be: the model's
     *     positions, a {@code max_length} that the adapter was loaded with
     */
    public Continuation reply(
            List<? extends Map<String, ? extends @Nullable Object>> messages,
            @Nullable List<?> tools,
            Options options,
            Listener listener) {
        return reply(adapter, Conversation.of(List.copyOf(messages), tools), 0, options, listener);
    }

    /** @param number says what is drawn for it */
    static Continuation reply(
            LoadedAdapter adapter, Conversation conversation, int number, Options options, Listener listener) {
        checkOne(options);
        options.check();
        Objects.requireNonNull(listener, "listener");
        for (int i = 0; i < conversation.messages().size(); i++) {
            if (!(conversation.messages().get(i).get("role") instanceof String)) {
                throw new ConfigException("message " + (i + 1) + " must have a text as role, has "
                        + conversation.messages().get(i).get("role"));
            }
        }
        try (TextEngine texts = new TextEngine(adapter, options)) {
            Request request = texts.add(
                    TextEngine.Asked.conversation(conversation), adapter, number, "the conversation", listener);
            texts.engine().run();
            return TextEngine.continuations(request).get(0);
        }
    }

    /** Loss and perplexity on rows with a text, or with a prompt and a response. */
    public Evaluation evaluate(Path data) throws IOException {
        return adapter.evaluate(data, EVALUATED_AT_ONCE);
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
