package org.peft4j.model;

import org.peft4j.io.ConfigKeys;

/** Keys of {@code config.json} that transformers has for every model. */
public final class TransformersKeys {
    /** The release whose keys the tables have; keys of release 4 that 5 has no more are in them too. */
    public static final String LIBRARY = "transformers 5.18";

    private static final String GENERATION = "only read where text is generated";
    private static final String OUTPUTS = "what transformers returns beside the result";

    /** The table of all models; a family adds its own rows. */
    public static final ConfigKeys COMMON = ConfigKeys.of(LIBRARY)
            .obeyed("model_type", "id2label", "num_labels", "problem_type")
            .harmless("the other direction of id2label", "label2id")
            .harmless("another count of labels, of a release that wrote it beside id2label", "_num_labels")
            .harmless("the tensors say their types", "dtype", "torch_dtype")
            .harmless("the class that was saved; which tensors there are says what can be made", "architectures")
            .harmless(
                    "says who wrote the file and where it was", "transformers_version", "_name_or_path", "_commit_hash")
            .harmless("code in a model directory is never run", "auto_map", "custom_pipelines")
            .harmless(OUTPUTS, "output_hidden_states", "output_attentions", "_output_attentions", "return_dict")
            .harmless("how transformers computes attention; the result is the same", "attn_implementation")
            .harmless(
                    "the same", "_attn_implementation", "_attn_implementation_internal", "_attn_implementation_autoset")
            .harmless("the same for experts", "experts_implementation", "_experts_implementation_internal")
            .harmless("whether the forward is traced for TorchScript", "torchscript")
            .harmless("of TensorFlow", "use_bfloat16", "tf_legacy_loss")
            .harmless("rows are computed in parts, with the same result", "chunk_size_feed_forward")
            .harmless("memory while training; the result is the same", "gradient_checkpointing")
            .harmless("of other tasks and of fine-tuning scripts", "finetuning_task", "task_specific_params")
            .harmless("the tokenizer has files of its own", "tokenizer_class")
            .harmless(
                    "a token's number for generation",
                    "bos_token_id",
                    "eos_token_id",
                    "sep_token_id",
                    "cls_token_id",
                    "mask_token_id",
                    "unk_token_id",
                    "decoder_start_token_id",
                    "forced_bos_token_id",
                    "forced_eos_token_id")
            .harmless(
                    GENERATION,
                    "prefix",
                    "max_length",
                    "min_length",
                    "do_sample",
                    "early_stopping",
                    "num_beams",
                    "num_beam_groups",
                    "diversity_penalty",
                    "temperature",
                    "top_k",
                    "top_p",
                    "typical_p",
                    "repetition_penalty",
                    "length_penalty",
                    "no_repeat_ngram_size",
                    "encoder_no_repeat_ngram_size",
                    "bad_words_ids",
                    "num_return_sequences",
                    "output_scores",
                    "return_dict_in_generate",
                    "remove_invalid_values",
                    "exponential_decay_length_penalty",
                    "suppress_tokens",
                    "begin_suppress_tokens")
            .unset("quantized weights cannot be read; take the unquantized model", "quantization_config")
            .unset("layers would have settings of their own", "per_layer_config")
            .unset("heads would be taken out of the attention", "pruned_heads")
            .unset("models of an encoder and a decoder are not offered", "is_encoder_decoder")
            .harmless("only read in models of an encoder and a decoder", "tie_encoder_decoder")
            .build();

    private TransformersKeys() {}
}
