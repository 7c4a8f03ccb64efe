package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.data.chat.Conversation;
import org.peft4j.error.ConfigException;
import org.peft4j.task.language.Prompts;
import org.peft4j.train.RowViewer;

/**
 * A talk with a language model, whose chat template makes text of it. Belongs to one thread; many talks with one adapter or model
 * may go on at once. Holds nothing open.
 */
public final class Chat {
    private static final String SYSTEM = "system";
    private static final String USER = "user";
    private static final String ASSISTANT = "assistant";

    private final @Nullable String system;
    private final List<Map<String, String>> turns;
    private LoadedAdapter adapter;

    private Chat(LoadedAdapter adapter, @Nullable String system, List<Map<String, String>> turns) {
        this.adapter = adapter;
        this.system = system;
        this.turns = new ArrayList<>(turns);
    }

    /**
     * A talk that begins.
     *
     * @throws ConfigException if the adapter does another task, or there is no chat template
     */
    public static Chat of(LoadedAdapter adapter) {
        check(adapter);
        return new Chat(adapter, null, List.of());
    }

    private static void check(LoadedAdapter adapter) {
        Faces.check(adapter, CausalLmConfig.TYPE);
        if (!Prompts.of(adapter.loaded().task()).format().isThere()) {
            throw noTemplate("'" + adapter.name() + "'");
        }
    }

    private static ConfigException noTemplate(String what) {
        return new ConfigException(
                what + " has no chat template, neither the model's tokenizer nor the adapter has one;"
                        + " give a .jinja file (--template, LoadedAdapter.Options.with(\"template\", …)), or a model that was made"
                        + " for conversations");
    }

    /**
     * Refuses what {@link #of} would refuse, before weights are read.
     *
     * @param adapter the adapter's directory, or null
     * @param options with which it is to be loaded
     */
    public static void check(Path model, @Nullable Path adapter, LoadedAdapter.Options options) throws IOException {
        if (!RowViewer.hasTemplate(model, adapter, options.settings())) {
            throw noTemplate((adapter == null ? model : adapter).toString());
        }
    }

    /** The same talk so far with this message of the system before it, or with none (null). */
    public Chat withSystem(@Nullable String text) {
        return new Chat(adapter, text, turns);
    }

    /**
     * Says something and gets the answer; both turns are added to the talk, the answer without blanks around it. If that fails, the
     * talk stays as it was. What is drawn repeats for the same talk and seed, and differs from turn to turn.
     *
     * @param options one answer
     * @param pieces hears of the answer's text as it comes
     * @return the answer as it was generated
     * @throws ConfigException if the template refuses the turn, or the talk has more tokens than may be: the model's positions, a
     *     {@code max_length} that the adapter was loaded with
     */
    public TextGenerator.Continuation say(String text, TextGenerator.Options options, Consumer<String> pieces) {
        Objects.requireNonNull(pieces, "pieces");
        return say(text, options, (prompt, piece) -> pieces.accept(piece));
    }

    /** The same; the listener hears notes, too. */
    public TextGenerator.Continuation say(String text, TextGenerator.Options options, TextGenerator.Listener listener) {
        List<Map<String, String>> asked = new ArrayList<>(messages());
        asked.add(Conversation.message(USER, Objects.requireNonNull(text, "text")));
        TextGenerator.Continuation said =
                TextGenerator.reply(adapter, Conversation.of(asked, null), turns.size() / 2, options, listener);
        turns.add(asked.get(asked.size() - 1));
        turns.add(Conversation.message(ASSISTANT, said.text().strip()));
        return said;
    }

    /** All messages so far, that of the system first if there is one: each with {@code role} and {@code content}. */
    public List<Map<String, String>> messages() {
        List<Map<String, String>> messages = new ArrayList<>();
        if (system != null) {
            messages.add(Conversation.message(SYSTEM, system));
        }
        messages.addAll(turns);
        return List.copyOf(messages);
    }

    /** Begins anew; the message of the system stays. */
    public void reset() {
        turns.clear();
    }

    /**
     * Takes the last question and its answer back.
     *
     * @return whether there was one
     */
    public boolean undo() {
        if (turns.isEmpty()) {
            return false;
        }
        turns.subList(turns.size() - 2, turns.size()).clear();
        return true;
    }

    /** Who answers. */
    public LoadedAdapter adapter() {
        return adapter;
    }

    /**
     * Lets another adapter answer from now on, by its own template.
     *
     * @param other loaded on the same model
     * @throws ConfigException if it does another task, or there is no chat template for it
     */
    public void use(LoadedAdapter other) {
        if (other.base() != adapter.base()) {
            throw new IllegalArgumentException(
                    "adapter '" + other.name() + "' is loaded on another model; load it on this one");
        }
        check(other);
        adapter = other;
    }
}
