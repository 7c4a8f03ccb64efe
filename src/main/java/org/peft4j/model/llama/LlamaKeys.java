package org.peft4j.model.llama;

import java.util.List;
import org.peft4j.io.ConfigKeys;
import org.peft4j.model.RotaryReader;
import org.peft4j.model.TransformersKeys;

/** What each key of a Llama's config means here. */
final class LlamaKeys {
    static final ConfigKeys TABLE = ConfigKeys.of(TransformersKeys.LIBRARY)
            .all(TransformersKeys.COMMON)
            .obeyed(
                    "vocab_size",
                    "hidden_size",
                    "intermediate_size",
                    "num_hidden_layers",
                    "num_attention_heads",
                    "num_key_value_heads",
                    "head_dim",
                    "hidden_act",
                    "max_position_embeddings",
                    "initializer_range",
                    "rms_norm_eps",
                    "tie_word_embeddings",
                    "attention_bias",
                    "attention_dropout",
                    "mlp_bias",
                    "classifier_dropout",
                    "hidden_dropout",
                    "token_classification_bias")
            .obeyed(RotaryReader.keys())
            .only("is_causal", List.of(true), "rows see only what is before them")
            .unset("models of an encoder and a decoder are not offered", "add_cross_attention")
            .harmless("it always is one", "is_decoder")
            .harmless(
                    "a product that was split in parts while the model was trained; the result is the same",
                    "pretraining_tp")
            .harmless("whether transformers keeps keys and values; the result is the same", "use_cache")
            .build();

    private LlamaKeys() {}
}
