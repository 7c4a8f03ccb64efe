package org.peft4j.config;

import java.util.Objects;

/**
 * The task of a language model: what token comes next. Rows have a text, or a prompt and a response.
 *
 * @param text name of the column with the text, of which every token counts
 * @param prompt name of the column with the prompt, where rows have prompt and response
 * @param response name of the column with the response
 * @param lossOn which tokens of a prompt and its response count
 * @param maxLength most tokens of a row, special tokens included; longer rows are cut and counted
 * @param packing put texts one behind the other into rows of {@code maxLength} tokens, instead of one row for each
 */
public record CausalLmConfig(String text, String prompt, String response, LossOn lossOn, int maxLength, boolean packing)
        implements TaskConfig {
    /** The name of the task in files. */
    public static final String TYPE = "causal-lm";

    /** Which tokens of a prompt and its response carry loss. */
    public enum LossOn {
        /** Those of the response. */
        RESPONSE,
        /** All. */
        ALL
    }

    public CausalLmConfig {
        Checks.column(text, "text");
        Checks.column(prompt, "prompt");
        Checks.column(response, "response");
        Objects.requireNonNull(lossOn, "lossOn");
        Checks.maxLength(maxLength);
    }

    @Override
    public String type() {
        return TYPE;
    }

    /** The columns "text", or "prompt" and "response", whose loss is on the response; a row for each, at most 256 tokens. */
    public static CausalLmConfig defaults() {
        return new CausalLmConfig("text", "prompt", "response", LossOn.RESPONSE, MAX_LENGTH, false);
    }

    /** The same with the text in another column. */
    public CausalLmConfig withText(String column) {
        return new CausalLmConfig(column, prompt, response, lossOn, maxLength, packing);
    }

    /** The same with prompt and response in other columns. */
    public CausalLmConfig withPromptAndResponse(String promptColumn, String responseColumn) {
        return new CausalLmConfig(text, promptColumn, responseColumn, lossOn, maxLength, packing);
    }

    /** The same with the loss on other tokens. */
    public CausalLmConfig withLossOn(LossOn value) {
        return new CausalLmConfig(text, prompt, response, value, maxLength, packing);
    }

    /** The same with another limit of tokens. */
    public CausalLmConfig withMaxLength(int tokens) {
        return new CausalLmConfig(text, prompt, response, lossOn, tokens, packing);
    }

    /** The same with texts packed into rows, or not. */
    public CausalLmConfig withPacking(boolean value) {
        return new CausalLmConfig(text, prompt, response, lossOn, maxLength, value);
    }
}
