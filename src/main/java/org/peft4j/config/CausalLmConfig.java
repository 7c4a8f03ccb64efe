package org.peft4j.config;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The task of a language model: what token comes next. In run files the keys of {@link Columns} and {@link Chat} stand among the
 * others.
 *
 * @param columns what a row has, and in which columns
 * @param chat how conversations become texts
 * @param lossOn which tokens of a conversation, or of a prompt and its response, count; of a text all do
 * @param maxLength most tokens of a row, special tokens included
 * @param truncation what becomes of a longer row; null cuts the side that the tokenizer's files say, which is the right one
 *     unless they say otherwise
 * @param packing put rows one behind the other into packs of at most {@code maxLength} tokens, instead of one row for each; no
 *     row of a pack sees another
 */
public record CausalLmConfig(
        Columns columns,
        Chat chat,
        LossOn lossOn,
        int maxLength,
        @Nullable Truncation truncation,
        boolean packing) implements TaskConfig {
    /** The name of the task in files. */
    public static final String TYPE = "causal-lm";

    /** What a row has. */
    public enum Rows {
        /** What its columns say; a row that fits more than one form is refused. */
        AUTO,
        /** A text. */
        TEXT,
        /** A prompt and a response, or a completion: texts, or with a completion two lists of messages. */
        PROMPT,
        /** A list of messages with {@code role} and {@code content}, and maybe {@code tools}. */
        MESSAGES,
        /** The same in the column {@code conversations}, also with {@code from} and {@code value}, as ShareGPT has them. */
        CONVERSATIONS,
        /** {@code instruction}, maybe {@code input}, and {@code output}, as Alpaca has them. */
        INSTRUCTION
    }

    /**
     * What a row has, and in which columns.
     *
     * @param rows which form, or {@link Rows#AUTO}
     * @param text name of the column with the text
     * @param prompt name of the column with the prompt
     * @param response name of the column with the response
     * @param messages name of the column with the messages
     * @param taskId which of the adapter's tasks a row is of, where it has several; null: nothing is said
     */
    public record Columns(
            Rows rows,
            String text,
            String prompt,
            String response,
            String messages,
            @Nullable TaskId taskId) {
        public Columns {
            Objects.requireNonNull(rows, "rows");
            Checks.column(text, "text");
            Checks.column(prompt, "prompt");
            Checks.column(response, "response");
            Checks.column(messages, "messages");
        }
    }

    /**
     * How conversations become texts.
     *
     * @param template a file whose name ends with {@code .jinja}, or the name of one of the tokenizer's chat templates; null
     *     for the one that stands beside the adapter, else the tokenizer's own
     * @param templateVariables what else the template reads, such as {@code enable_thinking}: texts, numbers, booleans
     */
    public record Chat(@Nullable String template, Map<String, Object> templateVariables) {
        public Chat {
            if (template != null && template.isEmpty()) {
                throw new IllegalArgumentException(
                        "template must be a .jinja file or the name of a chat template, got an empty text");
            }
            templateVariables = Collections.unmodifiableMap(new LinkedHashMap<>(templateVariables));
        }
    }

    /** Which tokens of a conversation, or of a prompt and its response, carry loss. */
    public enum LossOn {
        /** Those that the assistant writes, the ends of its turns included; those of a response. */
        ASSISTANT,
        /** Those of the assistant's last turn; those of a response. */
        LAST,
        /** All. */
        ALL
    }

    /** What becomes of a row that has more tokens than are read. */
    public enum Truncation {
        /** Its end is cut, and counted. */
        RIGHT,
        /** Its beginning is cut, and counted. */
        LEFT,
        /** It is refused. */
        REFUSE
    }

    public CausalLmConfig {
        Objects.requireNonNull(columns, "columns");
        Objects.requireNonNull(chat, "chat");
        Objects.requireNonNull(lossOn, "lossOn");
        Checks.maxLength(maxLength);
    }

    @Override
    public String type() {
        return TYPE;
    }

    /** Rows of any form, whose loss is on what the assistant says; a row for each, at most 256 tokens. */
    public static CausalLmConfig defaults() {
        return new CausalLmConfig(
                new Columns(Rows.AUTO, "text", "prompt", "response", "messages", null),
                new Chat(null, Map.of()),
                LossOn.ASSISTANT,
                MAX_LENGTH,
                null,
                false);
    }

    /** Name of the column with the text. */
    public String text() {
        return columns.text();
    }

    /** Name of the column with the prompt. */
    public String prompt() {
        return columns.prompt();
    }

    /** Name of the column with the response. */
    public String response() {
        return columns.response();
    }

    /** Name of the column with the messages. */
    public String messages() {
        return columns.messages();
    }

    /** The same with rows of one form alone, or of what their columns say. */
    public CausalLmConfig withRows(Rows form) {
        return with(new Columns(form, text(), prompt(), response(), messages(), taskId()));
    }

    /** The same with the text in another column. */
    public CausalLmConfig withText(String column) {
        return with(new Columns(columns.rows(), column, prompt(), response(), messages(), taskId()));
    }

    /** The same with prompt and response in other columns. */
    public CausalLmConfig withPromptAndResponse(String promptColumn, String responseColumn) {
        return with(new Columns(columns.rows(), text(), promptColumn, responseColumn, messages(), taskId()));
    }

    /** The same with the messages in another column. */
    public CausalLmConfig withMessages(String column) {
        return with(new Columns(columns.rows(), text(), prompt(), response(), column, taskId()));
    }

    private CausalLmConfig with(Columns other) {
        return new CausalLmConfig(other, chat, lossOn, maxLength, truncation, packing);
    }

    /** The same with another chat template: a {@code .jinja} file, the name of one of the tokenizer's, or null. */
    public CausalLmConfig withTemplate(@Nullable String template) {
        return with(new Chat(template, chat.templateVariables()));
    }

    /** The same with other variables for the chat template. */
    public CausalLmConfig withTemplateVariables(Map<String, Object> variables) {
        return with(new Chat(chat.template(), variables));
    }

    private CausalLmConfig with(Chat other) {
        return new CausalLmConfig(columns, other, lossOn, maxLength, truncation, packing);
    }

    /** The same with the loss on other tokens. */
    public CausalLmConfig withLossOn(LossOn value) {
        return new CausalLmConfig(columns, chat, value, maxLength, truncation, packing);
    }

    /** The same with another limit of tokens. */
    public CausalLmConfig withMaxLength(int tokens) {
        return new CausalLmConfig(columns, chat, lossOn, tokens, truncation, packing);
    }

    /** The same with another way with longer rows; null as the tokenizer's files say. */
    public CausalLmConfig withTruncation(@Nullable Truncation value) {
        return new CausalLmConfig(columns, chat, lossOn, maxLength, value, packing);
    }

    /** The same with rows packed, or not. */
    public CausalLmConfig withPacking(boolean value) {
        return new CausalLmConfig(columns, chat, lossOn, maxLength, truncation, value);
    }

    @Override
    public @Nullable TaskId taskId() {
        return columns.taskId();
    }

    /** The same with rows of these tasks of the adapter; null says nothing of them. */
    public CausalLmConfig withTaskId(@Nullable TaskId value) {
        return with(new Columns(columns.rows(), text(), prompt(), response(), messages(), value));
    }

    /** The template's file is saved beside the adapter, and named no more. */
    @Override
    public CausalLmConfig besideAdapter() {
        return withTemplate(null);
    }
}
