package org.peft4j.task.language;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.CausalLmConfig.Rows;
import org.peft4j.data.Row;
import org.peft4j.data.chat.Conversation;

/**
 * What a row of data says to a language model, whichever form it has.
 *
 * <pre>
 * form            columns                                  becomes
 * text            text                                     a text
 * prompt          prompt, response or completion           a turn; with a completion and a template a conversation
 * messages        messages, tools, system                  a conversation
 * conversations   conversations, tools, system             a conversation
 * instruction     instruction, input, output               a conversation; without a template a turn in Alpaca's form
 * </pre>
 */
sealed interface LanguageRow {
    /** A text. */
    record Text(String text) implements LanguageRow {}

    /** A prompt and what answers it, tokenised by themselves. */
    record Turn(String prompt, String response) implements LanguageRow {}

    /** Messages, which a chat template makes a text of. */
    record Chat(Conversation conversation) implements LanguageRow {}

    String COMPLETION = "completion";
    String CONVERSATIONS = "conversations";
    String TOOLS = "tools";
    String SYSTEM = "system";
    String VARIABLES = "chat_template_kwargs";
    String INSTRUCTION = "instruction";
    String INPUT = "input";
    String OUTPUT = "output";

    /** How many characters it has, about. */
    default long characters() {
        if (this instanceof Turn turn) {
            return (long) turn.prompt().length() + turn.response().length();
        }
        if (this instanceof Chat chat) {
            return chat.conversation().messages().stream()
                    .mapToLong(message -> String.valueOf(message.get("content")).length())
                    .sum();
        }
        return ((Text) this).text().length();
    }

    /**
     * Reads a row.
     *
     * @param withTemplate whether there is a chat template
     * @throws org.peft4j.error.MalformedFileException if it is of no form, or of several
     */
    static LanguageRow of(Row row, CausalLmConfig config, boolean withTemplate) {
        return switch (form(row, config)) {
            case TEXT -> new Text(row.text(config.text()));
            case MESSAGES -> new Chat(Conversation.of(conversation(row, config.messages()), tools(row)));
            case CONVERSATIONS -> new Chat(Conversation.of(conversation(row, CONVERSATIONS), tools(row)));
            case INSTRUCTION -> instruction(row, withTemplate);
            case PROMPT -> turn(row, config, withTemplate);
            case AUTO -> throw new AssertionError("decided");
        };
    }

    /** The form of a row: the chosen one, or the only one whose columns it has. */
    static Rows form(Row row, CausalLmConfig config) {
        return form(row, config, true);
    }

    /** @param answered whether what is to be learnt has to be there */
    private static Rows form(Row row, CausalLmConfig config, boolean answered) {
        if (config.columns().rows() != Rows.AUTO) {
            return config.columns().rows();
        }
        List<Rows> fitting = new ArrayList<>();
        add(fitting, Rows.TEXT, row.has(config.text()));
        add(
                fitting,
                Rows.PROMPT,
                row.has(config.prompt()) && (!answered || row.has(config.response()) || row.has(COMPLETION)));
        add(fitting, Rows.MESSAGES, row.has(config.messages()));
        add(
                fitting,
                Rows.CONVERSATIONS,
                row.has(CONVERSATIONS) && !config.messages().equals(CONVERSATIONS));
        add(fitting, Rows.INSTRUCTION, row.has(INSTRUCTION) && (!answered || row.has(OUTPUT)));
        if (fitting.size() > 1) {
            throw row.wrong("the columns " + row.fields().keySet() + " fit more than one form of rows: "
                    + String.join(", ", fitting.stream().map(LanguageRow::name).toList())
                    + "; say which is meant by task.rows, or take the other columns out");
        }
        if (fitting.isEmpty()) {
            throw row.wrong("expected a text in column '" + config.text() + "', a prompt in column '" + config.prompt()
                    + (answered
                            ? "' and a response in column '" + config.response() + "' (or '" + COMPLETION + "'), "
                            : "', ")
                    + "messages in column '" + config.messages() + "' or '" + CONVERSATIONS + "', or '" + INSTRUCTION
                    + (answered ? "' and '" + OUTPUT : "") + "', received the columns "
                    + row.fields().keySet());
        }
        return fitting.get(0);
    }

    /**
     * Reads what of a row a model is given to go on with: a {@link Text}, or a {@link Chat} without the last turn of the assistant.
     * An answer need not be there.
     *
     * @param withTemplate whether there is a chat template
     * @throws org.peft4j.error.MalformedFileException if it is of no form, or of several
     */
    static LanguageRow prompt(Row row, CausalLmConfig config, boolean withTemplate) {
        return switch (form(row, config, false)) {
            case TEXT -> new Text(row.text(config.text()));
            case MESSAGES -> unanswered(row, conversation(row, config.messages()));
            case CONVERSATIONS -> unanswered(row, conversation(row, CONVERSATIONS));
            case INSTRUCTION -> {
                String input = instructionInput(row);
                String instruction = row.text(INSTRUCTION);
                yield withTemplate
                        ? asked(row, instructionText(instruction, input))
                        : new Text(AlpacaPrompt.of(instruction, input));
            }
            case PROMPT -> givenPrompt(row, config, withTemplate);
            case AUTO -> throw new AssertionError("decided");
        };
    }

    private static Chat asked(Row row, String text) {
        return new Chat(Conversation.of(List.of(Conversation.message("user", text)), tools(row)));
    }

    private static Chat unanswered(Row row, List<Map<String, @Nullable Object>> messages) {
        int end = messages.size();
        while (end > 0 && "assistant".equals(messages.get(end - 1).get("role"))) {
            end--;
        }
        if (end == 0) {
            throw row.wrong(
                    "expected a message before the assistant's, which is what is to be generated, received none");
        }
        return new Chat(Conversation.of(messages.subList(0, end), tools(row)));
    }

    private static LanguageRow givenPrompt(Row row, CausalLmConfig config, boolean withTemplate) {
        boolean completion = completion(row, config);
        boolean list = row.fields().get(config.prompt()) instanceof List;
        if (completion) {
            checkAlike(row, config, list);
        }
        if (list) {
            return new Chat(Conversation.of(row.messages(config.prompt()), tools(row)));
        }
        String prompt = row.text(config.prompt());
        return completion && withTemplate ? asked(row, prompt) : new Text(prompt);
    }

    /** The name of a form in files and messages. */
    static String name(Rows form) {
        return form.name().toLowerCase(Locale.ROOT);
    }

    private static void add(List<Rows> fitting, Rows form, boolean fits) {
        if (fits) {
            fitting.add(form);
        }
    }

    /** What a row of a conversation has beside its messages. */
    private static @Nullable List<?> tools(Row row) {
        if (row.has(VARIABLES)) {
            throw row.wrong("a row cannot give variables to the chat template (column '" + VARIABLES
                    + "'); give them to all rows by task.template_variables, or take the column out");
        }
        return row.tools(TOOLS);
    }

    /** Rows may have the system's message in a column of its own, as ShareGPT's do. */
    private static List<Map<String, @Nullable Object>> conversation(Row row, String column) {
        List<Map<String, @Nullable Object>> messages = row.messages(column);
        if (!row.has(SYSTEM) || row.text(SYSTEM).isEmpty()) {
            return messages;
        }
        if (SYSTEM.equals(messages.get(0).get("role"))) {
            throw row.wrong("a system message stands in column '" + SYSTEM + "' and at the beginning of column '"
                    + column + "'; take one of them out");
        }
        List<Map<String, @Nullable Object>> all = new ArrayList<>();
        all.add(Map.of("role", SYSTEM, "content", row.text(SYSTEM)));
        all.addAll(messages);
        return all;
    }

    private static LanguageRow instruction(Row row, boolean withTemplate) {
        String input = instructionInput(row);
        String instruction = row.text(INSTRUCTION);
        String output = row.text(OUTPUT);
        return withTemplate
                ? new Chat(Conversation.of(instructionText(instruction, input), output, tools(row)))
                : new Turn(AlpacaPrompt.of(instruction, input), output);
    }

    private static String instructionText(String instruction, String input) {
        return input.isEmpty() ? instruction : instruction + "\n" + input;
    }

    /** The input of a row with an instruction; empty if there is none. Columns that would change the prompt are refused. */
    private static String instructionInput(Row row) {
        for (String other : List.of(SYSTEM, "history")) {
            Object value = row.fields().get(other);
            if (value != null && !value.equals("") && !value.equals(List.of())) {
                throw row.wrong(
                        "rows with an instruction have no column '" + other + "' here; write such rows as messages");
            }
        }
        return row.has(INPUT) ? row.text(INPUT) : "";
    }

    /** Whether the answer to a prompt is a completion, not a response. */
    private static boolean completion(Row row, CausalLmConfig config) {
        boolean completion = row.has(COMPLETION) && !config.response().equals(COMPLETION);
        if (completion && row.has(config.response())) {
            throw row.wrong("the row has two answers, in the columns '" + config.response() + "' and '" + COMPLETION
                    + "'; take one of them out");
        }
        return completion;
    }

    private static void checkAlike(Row row, CausalLmConfig config, boolean list) {
        if (list != row.fields().get(COMPLETION) instanceof List) {
            throw row.wrong("expected two texts, or two lists of messages, in the columns '" + config.prompt()
                    + "' and '" + COMPLETION + "', received one of each");
        }
    }

    private static LanguageRow turn(Row row, CausalLmConfig config, boolean withTemplate) {
        if (!completion(row, config)) {
            return new Turn(row.text(config.prompt()), row.text(config.response()));
        }
        boolean list = row.fields().get(config.prompt()) instanceof List;
        checkAlike(row, config, list);
        if (list) {
            return new Chat(Conversation.of(row.messages(config.prompt()), row.messages(COMPLETION), tools(row)));
        }
        String prompt = row.text(config.prompt());
        return withTemplate
                ? new Chat(Conversation.of(prompt, row.text(COMPLETION), tools(row)))
                : new Turn(prompt, row.text(COMPLETION));
    }
}
