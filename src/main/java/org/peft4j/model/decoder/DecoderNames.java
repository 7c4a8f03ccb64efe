package org.peft4j.model.decoder;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Where the tensors of a family are, by transformers' names.
 *
 * @param classes what its classes begin with, such as {@code Llama}
 * @param languageClass the class with the language model's head
 * @param prefix of the backbone in a class with a head, such as {@code model.}
 * @param words the table of words
 * @param positions the table of positions, or null: rotary
 * @param blocks the list of blocks
 * @param block names within a block
 * @param norm the last norm
 * @param tokensHead the layer of the class for token classification
 * @param transposed whether linear layers in blocks are stored [in, out]
 */
record DecoderNames(
        String classes,
        String languageClass,
        String prefix,
        String words,
        @Nullable String positions,
        String blocks,
        Block block,
        String norm,
        String tokensHead,
        boolean transposed) {
    static final String LANGUAGE_HEAD = "lm_head";
    static final String SEQUENCE_HEAD = "score";

    /**
     * Within a block.
     *
     * @param queryKeyValue three linear layers below {@code attention}, or one that gives all three
     * @param mlpIn below {@code mlp}: gate and up, one layer that gives both, or the only one
     * @param norms where they are
     */
    record Block(
            String attention,
            List<String> queryKeyValue,
            String attentionOutput,
            String mlp,
            List<String> mlpIn,
            String mlpOut,
            Norms norms) {}

    /** The norms of a block; null where there is none. */
    record Norms(
            @Nullable String beforeAttention,
            @Nullable String behindAttention,
            @Nullable String beforeMlp,
            @Nullable String behindMlp) {
        static final Norms BEFORE = new Norms("input_layernorm", null, "post_attention_layernorm", null);
        static final Norms BEHIND = new Norms(null, "post_attention_layernorm", null, "post_feedforward_layernorm");
        static final Norms BOTH = new Norms(
                "input_layernorm",
                "post_attention_layernorm",
                "pre_feedforward_layernorm",
                "post_feedforward_layernorm");
    }

    /** Those of Llama and of all that follow it. */
    static DecoderNames ofLlama(String classes, Norms norms) {
        return ofLlama(classes, List.of("q_proj", "k_proj", "v_proj"), List.of("gate_proj", "up_proj"), norms);
    }

    static DecoderNames ofLlama(String classes, List<String> queryKeyValue, List<String> mlpIn, Norms norms) {
        return new DecoderNames(
                classes,
                classes + "ForCausalLM",
                "model.",
                "embed_tokens",
                null,
                "layers",
                new Block("self_attn", queryKeyValue, "o_proj", "mlp", mlpIn, "down_proj", norms),
                "norm",
                SEQUENCE_HEAD,
                false);
    }

    DecoderNames withClasses(String others, String otherLanguageClass) {
        return new DecoderNames(
                others, otherLanguageClass, prefix, words, positions, blocks, block, norm, tokensHead, transposed);
    }

    String block(int layer) {
        return prefix + blocks + "." + layer + ".";
    }
}
