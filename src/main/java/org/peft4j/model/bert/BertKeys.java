package org.peft4j.model.bert;

import java.util.List;
import org.peft4j.io.ConfigKeys;
import org.peft4j.model.TransformersKeys;

/** What each key of a BERT model's config means here. */
final class BertKeys {
    static final ConfigKeys TABLE = ConfigKeys.of(TransformersKeys.LIBRARY)
            .all(TransformersKeys.COMMON)
            .obeyed(
                    "vocab_size",
                    "hidden_size",
                    "num_hidden_layers",
                    "num_attention_heads",
                    "intermediate_size",
                    "hidden_dropout_prob",
                    "attention_probs_dropout_prob",
                    "max_position_embeddings",
                    "type_vocab_size",
                    "initializer_range",
                    "layer_norm_eps",
                    "classifier_dropout")
            .only(
                    "hidden_act",
                    List.of("gelu", "gelu_python"),
                    "of the activations only gelu, the exact one, is offered")
            .only(
                    "position_embedding_type",
                    List.of("absolute"),
                    "positions relative to each other need tables that are not offered")
            .unset("only the encoder is offered, in which every token sees every other", "is_decoder")
            .unset("only the encoder is offered, without attention to another one", "add_cross_attention")
            .harmless("of padding, which packed rows do not have", "pad_token_id")
            .harmless("only read in a decoder", "use_cache", "cross_attention_hidden_size")
            .harmless(
                    "the language model's head, which is not part of it, would share the table", "tie_word_embeddings")
            .harmless(
                    "of the first BERT's Chinese and multilingual files; nobody reads it",
                    "directionality",
                    "pooler_fc_size",
                    "pooler_num_attention_heads",
                    "pooler_num_fc_layers",
                    "pooler_size_per_head",
                    "pooler_type")
            .build();

    private BertKeys() {}
}
