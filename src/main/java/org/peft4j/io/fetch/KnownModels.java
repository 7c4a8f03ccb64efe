package org.peft4j.io.fetch;

import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The models {@link Fetch} knows. A new one is a row here; its shapes are checked when it is converted. */
public final class KnownModels {
    private static final String VERSION = "1.20.0-beta30";

    private static final List<KnownModel> ALL = List.of(
            // https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
            embedding("all-minilm-l6-v2", "all-minilm-l6-v2", 6),
            // https://huggingface.co/BAAI/bge-small-en-v1.5
            embedding("bge-small-en-v1.5", "bge-small-en-v15", 12));

    private KnownModels() {}

    /** The names, in a stable order. */
    public static List<String> names() {
        return ALL.stream().map(KnownModel::name).toList();
    }

    /**
     * The model with this name.
     *
     * @throws IllegalArgumentException if there is none; lists the names
     */
    public static KnownModel find(String name) {
        return ALL.stream()
                .filter(model -> model.name().equals(name))
                .findFirst()
                .orElseThrow(
                        () -> new IllegalArgumentException("model must be one of " + names() + ", got '" + name + "'"));
    }

    private static KnownModel embedding(String name, String artifact, int layers) {
        return new KnownModel(
                name,
                "dev.langchain4j:langchain4j-embeddings-" + artifact + ":" + VERSION,
                name + ".onnx",
                name + "-tokenizer.json",
                smallBert(layers),
                uncasedTokenizer());
    }

    private static Map<String, @Nullable Object> smallBert(int layers) {
        Map<String, @Nullable Object> config = new HashMap<>();
        config.put("architectures", List.of("BertModel"));
        config.put("model_type", "bert");
        config.put("num_hidden_layers", layers);
        config.put("hidden_size", 384);
        config.put("num_attention_heads", 12);
        config.put("intermediate_size", 1536);
        config.put("vocab_size", 30522);
        config.put("max_position_embeddings", 512);
        config.put("type_vocab_size", 2);
        config.put("hidden_act", "gelu");
        config.put("layer_norm_eps", 1e-12);
        config.put("hidden_dropout_prob", 0.1);
        config.put("attention_probs_dropout_prob", 0.1);
        config.put("classifier_dropout", null);
        config.put("initializer_range", 0.02);
        config.put("pad_token_id", 0);
        config.put("position_embedding_type", "absolute");
        config.put("gradient_checkpointing", false);
        config.put("use_cache", true);
        return Collections.unmodifiableMap(config);
    }

    private static Map<String, @Nullable Object> uncasedTokenizer() {
        Map<String, @Nullable Object> config = new HashMap<>();
        config.put("tokenizer_class", "BertTokenizer");
        config.put("model_max_length", 512);
        config.put("do_lower_case", true);
        config.put("tokenize_chinese_chars", true);
        config.put("strip_accents", null);
        config.put("cls_token", "[CLS]");
        config.put("sep_token", "[SEP]");
        config.put("pad_token", "[PAD]");
        config.put("unk_token", "[UNK]");
        config.put("mask_token", "[MASK]");
        return Collections.unmodifiableMap(config);
    }
}
