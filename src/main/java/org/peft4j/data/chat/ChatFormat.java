package org.peft4j.data.chat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.template.AssistantSpans;
import org.peft4j.data.template.ChatTemplate;
import org.peft4j.data.template.ChatTemplates;
import org.peft4j.error.ConfigException;
import org.peft4j.host.UserPath;
import org.peft4j.io.AtomicFiles;

/**
 * How a model reads conversations: the chat template in force with what it is given beside the messages. The first of these
 * counts: a template that the caller names, the one that stands beside the adapter, those of the model's tokenizer. Immutable,
 * any thread.
 */
public final class ChatFormat {
    private static final String ENDING = ".jinja";

    /** Stands for an answer. */
    private static final String ANSWER = "peft4j-answer";

    private final ChatTemplates templates;
    private final @Nullable String name;
    private final Map<String, ?> variables;
    private final boolean chosen;
    private final Map<Boolean, ChatTemplate> parsed = new ConcurrentHashMap<>();

    private ChatFormat(ChatTemplates templates, @Nullable String name, Map<String, ?> variables, boolean chosen) {
        this.templates = templates;
        this.name = name;
        this.variables = variables;
        this.chosen = chosen;
    }

    /**
     * The format of a model, and its adapter.
     *
     * @param model the model's directory
     * @param adapter the adapter's directory, or null
     * @param template a file whose name ends with {@code .jinja}, or the name of one of the tokenizer's templates; null if
     *     nothing is said
     * @param variables what the template reads beside messages and tools
     * @throws ConfigException if the file is not there
     */
    public static ChatFormat open(
            Path model, @Nullable Path adapter, @Nullable String template, Map<String, ?> variables)
            throws IOException {
        ChatTemplates own = ChatTemplates.of(model);
        if (template != null && template.endsWith(ENDING)) {
            Path file = UserPath.of(template);
            if (!Files.isRegularFile(file)) {
                throw new ConfigException("template: there is no file " + file);
            }
            return new ChatFormat(own.withFile(file), null, variables, true);
        }
        if (template == null && adapter != null && Files.exists(adapter.resolve(ChatTemplates.FILE))) {
            return new ChatFormat(own.withFile(adapter.resolve(ChatTemplates.FILE)), null, variables, true);
        }
        return new ChatFormat(own, template, variables, template != null);
    }

    /** Whether the caller or the adapter chose a template; else it is the tokenizer's. */
    public boolean isChosen() {
        return chosen;
    }

    /** Whether there is a template. */
    public boolean isThere() {
        return chosen || !templates.isEmpty();
    }

    /**
     * The template for conversations with or without tools.
     *
     * @throws ConfigException if there is none, or it cannot be read
     */
    public ChatTemplate template(boolean withTools) {
        return parsed.computeIfAbsent(withTools, with -> templates.choose(name, with));
    }

    /** The template of a conversation. */
    public ChatTemplate template(Conversation conversation) {
        return template(conversation.tools() != null);
    }

    private ChatTemplate.Inputs inputs(Conversation conversation) {
        return ChatTemplate.Inputs.of(conversation.messages())
                .withTools(conversation.tools())
                .withSpecialTokens(templates.specialTokens())
                .withVariables(variables);
    }

    /**
     * The text of a conversation that the assistant is to go on with.
     *
     * @throws ConfigException if the template refuses it
     */
    public String prompt(Conversation conversation) {
        return template(conversation)
                .render(inputs(conversation).withGenerationPrompt(true))
                .text();
    }

    /**
     * The tokens of that text, however many there are. The template has written the special tokens, so none is added.
     *
     * @throws ConfigException if the template refuses it
     */
    public int[] promptTokens(Conversation conversation, TextTokenizer tokenizer) {
        return tokenizer.encodePlainWhole(prompt(conversation));
    }

    /**
     * The text of a whole conversation, and what in it the assistant writes behind the prompt.
     *
     * @throws ConfigException if the template refuses it
     */
    public AssistantSpans assistant(Conversation conversation, AssistantSpans.Turns turns) {
        return AssistantSpans.of(template(conversation), inputs(conversation), turns, conversation.prompt());
    }

    /**
     * What ends an answer of the assistant, beside the model's end tokens.
     *
     * @param tokens at most one token
     * @param texts at most one text, no part of the answer
     */
    public record EndOfTurn(List<Integer> tokens, List<String> texts) {
        /** Nothing does. */
        public static final EndOfTurn NONE = new EndOfTurn(List.of(), List.of());
    }

    /**
     * What the template writes behind the assistant's answer to these messages: the first special token of it, since a model
     * ends its turn there, whether or not it ends texts. Where the template ends turns by plain text, with neither a special
     * token nor one that ends texts, that text is it; a template whose turns end with the line so gives answers of one line.
     * Nothing, where the template writes nothing there but spaces, or does not take an answer to these messages.
     *
     * @param endTokens tokens that end texts anyway
     */
    public EndOfTurn endOfTurn(Conversation conversation, TextTokenizer tokenizer, Collection<Integer> endTokens) {
        String behind = behindAnswer(conversation);
        if (behind.isEmpty()) {
            return EndOfTurn.NONE;
        }
        int[] ids = tokenizer.encodePlainWhole(behind);
        for (int id : ids) {
            if (isSpecial(id, tokenizer)) {
                return new EndOfTurn(List.of(id), List.of());
            }
        }
        boolean ends = Arrays.stream(ids).anyMatch(endTokens::contains);
        return ends || behind.chars().allMatch(c -> c == ' ')
                ? EndOfTurn.NONE
                : new EndOfTurn(List.of(), List.of(behind));
    }

    /** Whether a token is special; that for unknown characters is not meant, since nobody wrote it. */
    private static boolean isSpecial(int id, TextTokenizer tokenizer) {
        int[] one = {id};
        return tokenizer.decode(one, true).isEmpty()
                && !tokenizer.decode(one, false).isEmpty()
                && !tokenizer.specialId("unk").equals(OptionalInt.of(id));
    }

    private String behindAnswer(Conversation conversation) {
        List<Map<String, ? extends @Nullable Object>> answered = new ArrayList<>(conversation.messages());
        answered.add(Conversation.message("assistant", ANSWER));
        try {
            String text = text(Conversation.of(answered, conversation.tools()));
            int at = text.lastIndexOf(ANSWER);
            return at < 0 ? "" : text.substring(at + ANSWER.length());
        } catch (ConfigException e) {
            return ""; // then end tokens alone end it
        }
    }

    /** The text of a whole conversation. */
    public String text(Conversation conversation) {
        return template(conversation).render(inputs(conversation)).text();
    }

    /** Writes a template where it is found beside an adapter, and by transformers in a model's directory. */
    public static void write(ChatTemplate template, Path directory) throws IOException {
        AtomicFiles.writeString(directory.resolve(ChatTemplates.FILE), template.source());
    }
}
