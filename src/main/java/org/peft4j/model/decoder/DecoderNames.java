package org.peft4j.model.decoder;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Where the tensors of a family are, by transformers' names.
 *
 * @param transposed whether linear layers in blocks are stored [in, out]
 */
record DecoderNames(Classes classes, Backbone backbone, Block block, boolean transposed) {
    static final String LANGUAGE_HEAD = "lm_head";
    static final String SEQUENCE_HEAD = "score";

    /**
     * Its classes in transformers.
     *
     * @param prefix what they begin with, such as {@code Llama}
     * @param language the class with the language model's head
     * @param tokensHead the layer of the class for token classification
     */
    record Classes(String prefix, String language, String tokensHead) {}

    /**
     * Outside of blocks.
     *
     * @param prefix of the backbone in a class with a head, such as {@code model.}
     * @param words the table of words
     * @param positions the table of positions, or null: rotary
     * @param blocks the list of blocks
     * @param norm the last norm
     */
    record Backbone(String prefix, String words, @Nullable String positions, String blocks, String norm) {}

    /**
     * Within a block.
     *
     * @param attention linear layers of attention
     * @param mlp those of the MLP
     * @param norms where they are
     */
    record Block(Layers attention, Layers mlp, Norms norms) {}

    /**
     * Linear layers below a module.
     *
     * @param in queries, keys and values; gate and up; or one layer that gives all of these
     */
    record Layers(String module, List<String> in, String out) {}

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

    static DecoderNames ofLlama(String classes, List<String> queryKeyValue, List<String> gateUp, Norms norms) {
        return new DecoderNames(
                new Classes(classes, classes + "ForCausalLM", SEQUENCE_HEAD),
                new Backbone("model.", "embed_tokens", null, "layers", "norm"),
                new Block(
                        new Layers("self_attn", queryKeyValue, "o_proj"),
                        new Layers("mlp", gateUp, "down_proj"),
                        norms),
                false);
    }

    DecoderNames withClasses(String prefix, String language) {
        return new DecoderNames(new Classes(prefix, language, classes.tokensHead()), backbone, block, transposed);
    }

    String block(int layer) {
        return backbone.prefix() + backbone.blocks() + "." + layer + ".";
    }
}
