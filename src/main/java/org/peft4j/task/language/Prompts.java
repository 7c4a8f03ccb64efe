package org.peft4j.task.language;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.data.Row;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.chat.ChatFormat;
import org.peft4j.data.chat.Conversation;
import org.peft4j.error.ConfigException;
import org.peft4j.task.Task;

/** What a language model is given to go on with: rows of the forms that training takes, their answers left off. Any thread. */
public final class Prompts {
    private final CausalLmConfig config;
    private final ChatFormat format;

    Prompts(CausalLmConfig config, ChatFormat format) {
        this.config = config;
        this.format = format;
    }

    /**
     * A prompt.
     *
     * @param ids its tokens, however many there are
     * @param conversation the messages that it was made of; null if it is a text
     */
    @SuppressWarnings("ArrayRecordComponent") // read, and never changed
    public record Given(int[] ids, @Nullable Conversation conversation) {}

    /** The prompts of a task, which has to be language modelling. */
    public static Prompts of(Task<?> task) {
        if (task instanceof CausalLm language) {
            return language.prompts();
        }
        throw new IllegalArgumentException(
                "there are no prompts for " + task.config().type());
    }

    /** How conversations become texts. */
    public ChatFormat format() {
        return format;
    }

    /** The prompt of a text, with the tokenizer's special tokens. */
    public Given of(String text, TextTokenizer tokenizer) {
        return new Given(tokenizer.encodeWhole(text), null);
    }

    /**
     * The prompt of a conversation: the text of its messages and what stands before an answer; the special tokens are the
     * template's.
     *
     * @throws ConfigException if the last message is the assistant's, or the template refuses the messages
     */
    public Given of(Conversation conversation, TextTokenizer tokenizer) {
        if (isAssistants(conversation.messages().size() - 1, conversation)) {
            throw new ConfigException("the last message is the assistant's already, and messages are answered here, not"
                    + " gone on with; take it out");
        }
        return new Given(format.promptTokens(conversation, tokenizer), conversation);
    }

    private static boolean isAssistants(int message, Conversation conversation) {
        return message >= 0
                && "assistant".equals(conversation.messages().get(message).get("role"));
    }

    /**
     * The prompt of a row.
     *
     * @throws org.peft4j.error.MalformedFileException if it is of no form, or of several, or the template refuses it
     */
    public Given of(Row row, TextTokenizer tokenizer) {
        LanguageRow said = LanguageRow.prompt(row, config, format.isThere());
        if (said instanceof LanguageRow.Text text) {
            return of(text.text(), tokenizer);
        }
        try {
            return of(((LanguageRow.Chat) said).conversation(), tokenizer);
        } catch (ConfigException | IllegalArgumentException e) {
            throw row.wrong(String.valueOf(e.getMessage()));
        }
    }

    /** Where an answer to this prompt ends, beside the model's end tokens; of a text nowhere. */
    public ChatFormat.EndOfTurn end(Given given, TextTokenizer tokenizer, List<Integer> endTokens) {
        return given.conversation() == null
                ? ChatFormat.EndOfTurn.NONE
                : format.endOfTurn(given.conversation(), tokenizer, endTokens);
    }
}
