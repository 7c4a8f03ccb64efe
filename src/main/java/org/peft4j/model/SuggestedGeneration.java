package org.peft4j.model;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;

/**
 * How a model's authors suggest to generate with it: all of {@code generation_config.json}, with what transformers takes where a
 * key is missing. For who asks for it; what the file says and is not done here is refused by name.
 *
 * @param draws how tokens are drawn; null if the likeliest are taken ({@code do_sample})
 * @param repetitionPenalty 1 for none
 * @param search for the likeliest texts
 * @param answers for each prompt
 * @param limits where an answer ends
 * @param notes what a user should know of the file
 */
public record SuggestedGeneration(
        @Nullable Draws draws,
        double repetitionPenalty,
        Search search,
        int answers,
        Limits limits,
        List<String> notes) {
    /**
     * @param temperature above 0
     * @param topK 0: all
     * @param topP 1: all
     * @param minP 0: all
     */
    public record Draws(double temperature, int topK, double topP, double minP) {}

    /**
     * @param beams 1: none
     * @param earlyStopping transformers' value: {@code true}, {@code false} or {@code never}
     */
    public record Search(int beams, double lengthPenalty, String earlyStopping) {}

    /**
     * @param maxNewTokens null where nothing is said
     * @param stop texts at which it ends
     */
    public record Limits(@Nullable Integer maxNewTokens, List<String> stop) {}

    private static final String FILE = "generation_config.json";
    private static final double MOST = 1e6;
    private static final int COUNT = 1_000_000_000;
    private static final String OTHER_CHOICE =
            "tokens would be chosen by a rule that is not offered; set other options instead";
    private static final String SPEED = "how transformers computes it; the result is the same";

    static final ConfigKeys KEYS = ConfigKeys.of("transformers 5")
            .obeyed("eos_token_id", "do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")
            .obeyed("num_beams", "length_penalty", "early_stopping", "num_return_sequences")
            .obeyed("max_new_tokens", "stop_strings")
            .harmless("max_new_tokens counts, as it does in transformers beside it", "max_length")
            .harmless("there is no padding, and prompts begin as the tokenizer says", "pad_token_id", "bos_token_id")
            .harmless("only read in models of an encoder and a decoder", "decoder_start_token_id")
            .harmless("the same", "encoder_no_repeat_ngram_size", "encoder_repetition_penalty")
            .harmless("what transformers gives back beside the tokens", "output_attentions", "output_hidden_states")
            .harmless("the same", "output_scores", "output_logits", "return_dict_in_generate")
            .harmless(SPEED, "use_cache", "cache_implementation", "cache_config", "max_cache_len", "low_memory")
            .harmless(SPEED, "compile_config", "disable_compile", "continuous_batching_config", "prefill_chunk_size")
            .harmless(SPEED, "prompt_lookup_num_tokens", "max_matching_ngram_size", "use_mtp", "speculation_type")
            .harmless("only read with a second model that helps", "is_assistant", "num_assistant_tokens")
            .harmless("the same", "num_assistant_tokens_schedule", "assistant_confidence_threshold")
            .harmless("the same", "assistant_early_exit", "assistant_lookbehind", "target_lookbehind")
            .harmless("the same", "assistant_ensemble_weight")
            .harmless("logits that are not finite are an error", "remove_invalid_values")
            .harmless("who wrote the file", "transformers_version", "_from_model_config")
            .only("typical_p", List.of(1, 1.0), OTHER_CHOICE)
            .only("num_beam_groups", List.of(1), OTHER_CHOICE)
            .only("guidance_scale", List.of(1, 1.0), OTHER_CHOICE)
            .unset(OTHER_CHOICE, "top_h", "epsilon_cutoff", "eta_cutoff", "no_repeat_ngram_size", "bad_words_ids")
            .unset(OTHER_CHOICE, "min_length", "min_new_tokens", "forced_bos_token_id", "forced_eos_token_id")
            .unset(OTHER_CHOICE, "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens")
            .unset(OTHER_CHOICE, "sequence_bias", "token_healing", "watermarking_config", "renormalize_logits")
            .unset(OTHER_CHOICE, "penalty_alpha", "dola_layers", "diversity_penalty", "constraints", "force_words_ids")
            .unset("generation would end after some time, wherever it is", "max_time")
            .build();

    /**
     * Reads the file.
     *
     * @throws ConfigException if there is none
     * @throws MalformedFileException if it asks for something that is not done here
     */
    public static SuggestedGeneration read(ModelDirectory directory) throws IOException {
        Path file = directory.directory().resolve(FILE);
        if (!Files.isRegularFile(file)) {
            throw new ConfigException(
                    directory.directory() + " has no " + FILE + ", whose settings were asked for; leave that out");
        }
        Map<String, @Nullable Object> settings = Json.readObject(file);
        List<String> notes = KEYS.check(file, settings);
        ConfigReader reader = new ConfigReader(file, settings);
        boolean sample = reader.flag("do_sample", false);
        int beams = reader.count("num_beams", 1, COUNT);
        if (sample && beams > 1) {
            throw reader.wrong("num_beams", "must be 1 beside do_sample: a search draws nothing here", beams);
        }
        return new SuggestedGeneration(
                sample ? draws(reader) : null,
                reader.number("repetition_penalty", 1, Double.MIN_VALUE, MOST),
                new Search(beams, reader.number("length_penalty", 1, -MOST, MOST), earlyStopping(reader)),
                reader.count("num_return_sequences", 1, COUNT),
                limits(reader),
                notes);
    }

    private static Draws draws(ConfigReader reader) throws MalformedFileException {
        Object topK = reader.get("top_k");
        return new Draws(
                reader.number("temperature", 1, Double.MIN_VALUE, MOST),
                Integer.valueOf(0).equals(topK) ? 0 : reader.count("top_k", 50, COUNT), // transformers' default
                reader.number("top_p", 1, Double.MIN_VALUE, Math.nextUp(1.0)),
                reader.number("min_p", 0, 0, Math.nextUp(1.0)));
    }

    private static String earlyStopping(ConfigReader reader) throws MalformedFileException {
        Object value = reader.get("early_stopping");
        if (value != null && !(value instanceof Boolean) && !value.equals("never")) {
            throw reader.wrong("early_stopping", "must be true, false or \"never\"", value);
        }
        return value == null ? "false" : value.toString();
    }

    private static Limits limits(ConfigReader reader) throws MalformedFileException {
        Object stop = reader.get("stop_strings");
        List<?> texts = stop == null ? List.of() : stop instanceof List<?> list ? list : List.of(stop);
        if (!texts.stream().allMatch(text -> text instanceof String string && !string.isEmpty())) {
            throw reader.wrong("stop_strings", "must be a text or a list of texts, none of them empty", stop);
        }
        return new Limits(
                reader.get("max_new_tokens") == null ? null : reader.count("max_new_tokens", 0, COUNT),
                texts.stream().map(String.class::cast).toList());
    }
}
