package org.peft4j.method;

import java.util.List;

/**
 * The first values of a prompt's rows.
 *
 * @param init how they begin
 * @param initText the text, where they begin with one; its tokens are those of the model's tokenizer, special ones included, as
 *     in Hugging Face PEFT
 * @param initTokens tokens in place of a text, for those who have no tokenizer; of a text they are found out when a run begins
 * @see <a href="https://arxiv.org/abs/2104.08691">The Power of Scale for Parameter-Efficient Prompt Tuning, figure 3b: how
 *     prompts begin</a>
 */
public record PromptStart(PromptInit init, String initText, List<Integer> initTokens) {
    /** Random rows. */
    public static final PromptStart RANDOM = new PromptStart(PromptInit.RANDOM, "", List.of());

    public PromptStart {
        initTokens = List.copyOf(initTokens);
        boolean text = init == PromptInit.TEXT;
        if (text && initText.isBlank() && initTokens.isEmpty()) {
            throw new IllegalArgumentException("initText must say the text that init: text begins with, such as"
                    + " \"Classify this mail as ham or spam:\", got none");
        }
        if (!text && !(initText.isEmpty() && initTokens.isEmpty())) {
            throw new IllegalArgumentException((initText.isEmpty() ? "initTokens" : "initText")
                    + " is for init: text, but init is " + init.name().toLowerCase(java.util.Locale.ROOT)
                    + "; set init: text or leave it out");
        }
        initTokens.stream().filter(token -> token < 0).findFirst().ifPresent(token -> {
            throw new IllegalArgumentException("initTokens must be numbers of the vocabulary, got " + token);
        });
    }

    /** Rows that begin with a text. */
    public static PromptStart text(String text) {
        return new PromptStart(PromptInit.TEXT, text, List.of());
    }

    /** Rows that begin with tokens of the vocabulary. */
    public static PromptStart sampled() {
        return new PromptStart(PromptInit.SAMPLE_VOCAB, "", List.of());
    }

    /** The same with the text's tokens. */
    public PromptStart withTokens(List<Integer> tokens) {
        return new PromptStart(init, initText, tokens);
    }
}
