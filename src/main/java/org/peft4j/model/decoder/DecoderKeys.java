package org.peft4j.model.decoder;

import java.util.List;
import org.peft4j.io.ConfigKeys;
import org.peft4j.model.RotaryReader;
import org.peft4j.model.TransformersKeys;

/** What keys of config.json mean in every decoder; a family adds its own rows. */
final class DecoderKeys {
    private static final String CAUSAL = "rows see only what is before them";

    private DecoderKeys() {}

    /** Of Llama and those that follow it. */
    static ConfigKeys.Builder ofLlama() {
        return all().obeyed(
                        "hidden_size",
                        "intermediate_size",
                        "num_hidden_layers",
                        "num_attention_heads",
                        "num_key_value_heads",
                        "head_dim",
                        "max_position_embeddings",
                        "rms_norm_eps",
                        "attention_dropout",
                        "hidden_dropout",
                        "token_classification_bias")
                .obeyed(RotaryReader.keys());
    }

    /** Of all. */
    static ConfigKeys.Builder all() {
        return ConfigKeys.of(TransformersKeys.LIBRARY)
                .all(TransformersKeys.COMMON)
                .obeyed("vocab_size", "initializer_range", "tie_word_embeddings", "classifier_dropout", "pad_token_id")
                .only("is_causal", List.of(true), CAUSAL)
                .unset("rows would see what is behind them", "use_bidirectional_attention")
                .unset("models of an encoder and a decoder are not offered", "add_cross_attention")
                .harmless("it always is one", "is_decoder")
                .harmless(
                        "a product that was split in parts while the model was trained; the result is the same",
                        "pretraining_tp")
                .harmless(
                        "how transformers keeps keys and values; the result is the same",
                        "use_cache",
                        "cache_implementation");
    }
}
