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
import org.peft4j.config.TaskConfig;
import org.peft4j.data.Row;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.chat.ChatFormat;
import org.peft4j.data.chat.Conversation;
import org.peft4j.error.ConfigException;
import org.peft4j.generate.Engine;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Request;
import org.peft4j.lifetime.Lease;
import org.peft4j.model.GenerationDefaults;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.TextLengths;
import org.peft4j.task.Dataset;
import org.peft4j.task.TaskOfRow;
import org.peft4j.task.language.Prompts;
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
        Adapter its = adapter.loaded().adapter();
        if (its != null && its.textLength() > 0) {
            throw TextLengths.growing(its);
        }
        if (!known.contains(adapter)) {
            held.add(adapter.take());
            known.add(adapter);
        }
    }

    /** What an adapter is given to go on with. */
    @FunctionalInterface
    interface Asked {
        Prompts.Given read(Prompts prompts, TextTokenizer tokenizer);

        /** Which of the adapter's tasks it is of; {@code name} is what it is called in messages. */
        default int task(TaskConfig config, String name) {
            return TaskOfRow.ofText(config, name);
        }

        static Asked text(String text) {
            return (prompts, tokenizer) -> prompts.of(text, tokenizer);
        }

        static Asked row(Row row) {
            return new Asked() {
                @Override
                public Prompts.Given read(Prompts prompts, TextTokenizer tokenizer) {
                    return prompts.of(row, tokenizer);
                }

                @Override
                public int task(TaskConfig config, String name) {
                    return TaskOfRow.of(row, config);
                }
            };
        }

        static Asked conversation(Conversation conversation) {
            return (prompts, tokenizer) -> prompts.of(conversation, tokenizer);
        }
    }

    /**
     * Adds a text, or a conversation, whose answer also ends where the chat template ends a turn.
     *
     * @param number says what is drawn for it
     * @param name what it is called in messages
     * @param listener hears of it
     */
    Request add(Asked asked, LoadedAdapter adapter, int number, String name, TextGenerator.Listener listener) {
        take(adapter);
        LoadedTask<?> task = adapter.loaded();
        Prompts prompts = Prompts.of(task.task());
        Prompts.Given given = asked.read(prompts, task.tokenizer());
        int[] ids = given.ids();
        check(ids, task, name);
        ChatFormat.EndOfTurn end = prompts.end(given, task.tokenizer(), settings.endTokens());
        GenerationSettings own = settings.alsoEnding(end.tokens(), end.texts());
        Texts texts = new Texts(tokenizer, ids);
        return engine.add(
                new Prompt(
                        ids,
                        task.adapter(),
                        number,
                        name,
                        asked.task(task.task().config(), name)),
                own,
                texts,
                new Pieces(number, texts, own.stop(), listener));
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
        if (adapter != null && tokens.length > adapter.longestText()) {
            throw new ConfigException(name + ": a prompt must have at most " + adapter.longestText()
                    + " tokens, so many the adapter has rows for, has " + tokens.length + "; shorten it");
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

    /** Ends what goes on. */
    @Override
    public void close() {
        engine.close();
        held.forEach(Lease.Held::close);
    }
}
