package org.peft4j.data.tokenizer;

import java.math.BigInteger;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.ConfigKeys;

/** The keys of {@code tokenizer_config.json}. Transformers reads most of them in its own Python classes. */
final class TokenizerKeys {
    static final ConfigKeys TABLE = ConfigKeys.of("transformers 5.18")
            .obeyed(
                    "tokenizer_class",
                    "do_lower_case",
                    "strip_accents",
                    "tokenize_chinese_chars",
                    "add_prefix_space",
                    "truncation_side",
                    "model_max_length",
                    "max_len",
                    "added_tokens_decoder",
                    "additional_special_tokens",
                    "extra_special_tokens",
                    "model_specific_special_tokens",
                    "split_special_tokens",
                    "chat_template",
                    "clean_up_tokenization_spaces",
                    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output")
            .obeyed(SpecialTokens.NAMES.toArray(String[]::new))
            .harmless("nothing is padded", "padding_side", "pad_token_type_id", "pad_to_multiple_of")
            .harmless("types of tokens come from tokenizer.json, in transformers too", "token_type_ids_pattern")
            .harmless("the run's max_length counts", "max_length")
            .harmless(
                    "of two texts the longer one is cut first, as transformers does unless told", "truncation_strategy")
            .harmless("what is cut off is not read", "stride")
            .harmless(
                    "tokenizer.json says how tokens become text, in transformers too",
                    "spaces_between_special_tokens",
                    "errors")
            .harmless("where tokens stand in the text is not asked", "trim_offsets")
            .harmless("the models here say what they read", "model_input_names")
            .harmless("it says where the tokenizer was", "name_or_path", "is_local")
            .harmless("it says where a file was", "special_tokens_map_file")
            .harmless("the directory's file counts, in transformers too", "tokenizer_file", "vocab_file", "merges_file")
            .harmless("answers are not taken apart", "response_template", "response_schema")
            .harmless("the chat template says what stands before a conversation", "use_default_system_prompt")
            .harmless("it is about images and sound", "processor_class")
            .harmless("there is one kind of tokenizer", "use_fast", "from_slow", "backend")
            .harmless("it is about messages", "verbose")
            .harmless("nothing is downloaded", "local_files_only")
            .harmless("it says who wrote the file", "transformers_version")
            .harmless("tokenizer.json decides, and BertTokenizer does not know it", "add_bos_token", "add_eos_token")
            .harmless("it is about files of SentencePiece", "legacy", "sp_model_kwargs", "unk_id")
            .told("do_basic_tokenize", value -> value.equals(true), "only the older, slow tokenizers read it")
            .told("never_split", ConfigKeys::isUnset, "only the older, slow tokenizers read it")
            .told("wordpieces_prefix", value -> value.equals("##"), "transformers has '##' or what tokenizer.json says")
            .told("auto_map", ConfigKeys::isUnset, "code in a model's directory is never run")
            .unset("it names other files than tokenizer.json, by versions of transformers", "fast_tokenizer_files")
            .unset("it is about arguments of a Python class", "init_inputs")
            .unset("GGUF is not read", "gguf_file")
            .unset("transformers changes how texts are split by it", "fix_mistral_regex")
            .unset("a vocabulary is read from tokenizer.json or vocab.txt", "vocab", "merges")
            .unset("a tokenizer is read from tokenizer.json or vocab.txt", "tokenizer_object")
            .unset("special tokens around a text are read from tokenizer.json", "post_processor")
            .build();

    private TokenizerKeys() {}

    /**
     * Judges a file.
     *
     * @return a line for each key that is passed over and may matter
     */
    static List<String> check(Part config) {
        Map<String, @Nullable Object> keys = new LinkedHashMap<>();
        for (String key : config.keys()) {
            if (!SpecialTokens.isName(key, config.at(key)) || TABLE.keys().contains(key)) {
                keys.put(key, config.at(key).value()); // a special token may have any name
            }
        }
        return TABLE.check(config.file(), keys);
    }

    /** A length as the file has it, where a huge one means none. */
    static OptionalInt length(Part value) {
        if (value.value() instanceof BigInteger || (value.value() instanceof Double d && d >= 1e9)) {
            return OptionalInt.empty();
        }
        if (value.value() instanceof Double d && d == Math.rint(d) && d >= 1) {
            return OptionalInt.of(d.intValue());
        }
        long length = value.integer(1, Long.MAX_VALUE);
        return length >= 1_000_000_000 ? OptionalInt.empty() : OptionalInt.of((int) length);
    }
}
