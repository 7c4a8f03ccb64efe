package org.peft4j.data.tokenizer;

import java.math.BigInteger;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.function.Function;

/**
 * Every key that {@code tokenizer_config.json} is known to have, and what becomes of it. Transformers reads most keys in
 * its own Python classes; the table says for each whether it is obeyed here, cannot change the tokens of a text, is passed
 * over and told, or is refused.
 */
final class ConfigKeys {
    /** What becomes of a key and its value. */
    enum Use {
        OBEYED,
        HARMLESS,
        TOLD,
        REFUSED
    }

    /**
     * @param use what becomes of a value
     * @param reason why; for OBEYED, what it decides
     */
    record Rule(Function<Part, Use> use, String reason) {}

    private static final Map<String, Rule> RULES = new LinkedHashMap<>();

    static {
        obeyed("tokenizer_class", "which of the other keys count");
        obeyed("do_lower_case", "the normalizer of a BertTokenizer");
        obeyed("strip_accents", "the normalizer of a BertTokenizer");
        obeyed("tokenize_chinese_chars", "the normalizer of a BertTokenizer");
        obeyed("add_prefix_space", "has to agree with tokenizer.json");
        obeyed("truncation_side", "which end of a long text goes");
        obeyed("model_max_length", "the longest text, where nobody says another");
        obeyed("max_len", "the old name of model_max_length");
        obeyed("added_tokens_decoder", "tokens beside the vocabulary");
        obeyed("additional_special_tokens", "tokens beside the vocabulary");
        obeyed("extra_special_tokens", "tokens beside the vocabulary");
        obeyed("model_specific_special_tokens", "tokens beside the vocabulary");
        obeyed("split_special_tokens", "whether special tokens in a text are text");
        for (String token : SpecialTokens.NAMES) {
            obeyed(token, "a special token");
        }

        harmless("padding_side", "nothing is padded");
        harmless("pad_token_type_id", "nothing is padded");
        harmless("pad_to_multiple_of", "nothing is padded");
        harmless("token_type_ids_pattern", "there is one text, of type 0");
        harmless("max_length", "the run's max_length counts");
        harmless("truncation_strategy", "there is one text to cut");
        harmless("stride", "what is cut off is not read");
        harmless("clean_up_tokenization_spaces", "it is about making text from tokens");
        harmless(
                "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
                "it is about making text from tokens");
        harmless("spaces_between_special_tokens", "it is about making text from tokens");
        harmless("errors", "it is about making text from tokens");
        harmless("trim_offsets", "where tokens stand in the text is not asked");
        harmless("model_input_names", "the models here say what they read");
        harmless("name_or_path", "it says where the tokenizer was");
        harmless("special_tokens_map_file", "it says where a file was");
        harmless("tokenizer_file", "the directory's file counts, in transformers too");
        harmless("vocab_file", "the directory's file counts, in transformers too");
        harmless("merges_file", "the directory's file counts, in transformers too");
        harmless("chat_template", "no chats are tokenized");
        harmless("response_template", "no chats are tokenized");
        harmless("response_schema", "no chats are tokenized");
        harmless("use_default_system_prompt", "no chats are tokenized");
        harmless("processor_class", "it is about images and sound");
        harmless("use_fast", "there is one kind of tokenizer");
        harmless("from_slow", "there is one kind of tokenizer");
        harmless("backend", "there is one kind of tokenizer");
        harmless("verbose", "it is about messages");
        harmless("is_local", "it says where the tokenizer was");
        harmless("local_files_only", "nothing is downloaded");
        harmless("transformers_version", "it says who wrote the file");
        harmless("add_bos_token", "tokenizer.json decides, and BertTokenizer does not know it");
        harmless("add_eos_token", "tokenizer.json decides, and BertTokenizer does not know it");
        harmless("legacy", "it is about files of SentencePiece");
        harmless("sp_model_kwargs", "it is about files of SentencePiece");
        harmless("unk_id", "it is about files of SentencePiece");

        rule("do_basic_tokenize", v -> isTrue(v) ? Use.HARMLESS : Use.TOLD, "only the older, slow tokenizers read it");
        rule("never_split", v -> isEmpty(v) ? Use.HARMLESS : Use.TOLD, "only the older, slow tokenizers read it");
        rule(
                "wordpieces_prefix",
                v -> "##".equals(v.value()) ? Use.HARMLESS : Use.TOLD,
                "transformers has '##' or what tokenizer.json says");
        rule("auto_map", v -> isEmpty(v) ? Use.HARMLESS : Use.TOLD, "code in a model's directory is never run");

        refused("fast_tokenizer_files", "it names other files than tokenizer.json, by versions of transformers");
        refused("init_inputs", "it is about arguments of a Python class");
        refused("gguf_file", "GGUF is not read");
        refused("fix_mistral_regex", "transformers changes how texts are split by it");
        refused("vocab", "a vocabulary is read from tokenizer.json or vocab.txt");
        refused("merges", "a vocabulary is read from tokenizer.json or vocab.txt");
        refused("tokenizer_object", "a tokenizer is read from tokenizer.json or vocab.txt");
        refused("post_processor", "special tokens around a text are read from tokenizer.json");
    }

    private ConfigKeys() {}

    /** The names in the table. */
    static Iterable<String> names() {
        return RULES.keySet();
    }

    /**
     * Goes through the keys of a file.
     *
     * @param notes gets a line for each that is passed over and may matter
     */
    static void judge(Part config, List<String> notes) {
        for (String name : config.keys()) {
            Part value = config.at(name);
            Rule rule = RULES.get(name);
            if (rule == null) {
                if (!SpecialTokens.isName(name, value)) {
                    notes.add(config.file().getFileName() + ": the key '" + name + "' is not known and passed over");
                }
                continue;
            }
            switch (rule.use().apply(value)) {
                case REFUSED -> throw value.bad(name + " is not supported: " + rule.reason() + "; take it out");
                case TOLD ->
                    notes.add(config.file().getFileName() + ": '" + name + "' is passed over: " + rule.reason());
                case OBEYED, HARMLESS -> {}
            }
        }
    }

    private static void obeyed(String name, String what) {
        rule(name, v -> Use.OBEYED, what);
    }

    private static void harmless(String name, String reason) {
        rule(name, v -> Use.HARMLESS, reason);
    }

    private static void refused(String name, String reason) {
        rule(name, v -> isEmpty(v) ? Use.HARMLESS : Use.REFUSED, reason);
    }

    private static void rule(String name, Function<Part, Use> use, String reason) {
        RULES.put(name, new Rule(use, reason));
    }

    private static boolean isTrue(Part value) {
        return value.value() == null || Boolean.TRUE.equals(value.value());
    }

    private static boolean isEmpty(Part value) {
        Object v = value.value();
        return v == null
                || Boolean.FALSE.equals(v)
                || (v instanceof List<?> list && list.isEmpty())
                || (v instanceof Map<?, ?> map && map.isEmpty());
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
