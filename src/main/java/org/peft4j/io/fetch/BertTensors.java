package org.peft4j.io.fetch;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Names and shapes of the tensors of a {@code BertModel} without pooler, as its {@code config.json} determines them. */
final class BertTensors {
    private final Map<String, List<Long>> shapes = new LinkedHashMap<>();

    private BertTensors() {}

    /** Hugging Face names to shapes, in the order of the model. */
    static Map<String, List<Long>> shapes(Map<String, @Nullable Object> config) {
        long hidden = number(config, "hidden_size");
        long intermediate = number(config, "intermediate_size");
        BertTensors model = new BertTensors();
        model.shapes.put("embeddings.word_embeddings.weight", List.of(number(config, "vocab_size"), hidden));
        model.shapes.put(
                "embeddings.position_embeddings.weight", List.of(number(config, "max_position_embeddings"), hidden));
        model.shapes.put("embeddings.token_type_embeddings.weight", List.of(number(config, "type_vocab_size"), hidden));
        model.norm("embeddings.LayerNorm", hidden);
        for (long layer = 0; layer < number(config, "num_hidden_layers"); layer++) {
            String path = "encoder.layer." + layer;
            model.linear(path + ".attention.self.query", hidden, hidden);
            model.linear(path + ".attention.self.key", hidden, hidden);
            model.linear(path + ".attention.self.value", hidden, hidden);
            model.linear(path + ".attention.output.dense", hidden, hidden);
            model.norm(path + ".attention.output.LayerNorm", hidden);
            model.linear(path + ".intermediate.dense", intermediate, hidden);
            model.linear(path + ".output.dense", hidden, intermediate);
            model.norm(path + ".output.LayerNorm", hidden);
        }
        return model.shapes;
    }

    private void linear(String path, long out, long in) {
        shapes.put(path + ".weight", List.of(out, in));
        shapes.put(path + ".bias", List.of(out));
    }

    private void norm(String path, long size) {
        shapes.put(path + ".weight", List.of(size));
        shapes.put(path + ".bias", List.of(size));
    }

    private static long number(Map<String, @Nullable Object> config, String key) {
        if (config.get(key) instanceof Integer number && number > 0) {
            return number;
        }
        throw new IllegalArgumentException(
                "config must have a positive whole number under '" + key + "', got " + config.get(key));
    }
}
