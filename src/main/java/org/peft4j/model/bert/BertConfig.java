package org.peft4j.model.bert;

import java.util.List;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.ConfigReader;
import org.peft4j.nn.Dropout;

/**
 * What config.json of a BERT model says; names as there.
 *
 * @param notes keys of the file that nobody knows
 */
record BertConfig(
        Sizes sizes,
        Tables tables,
        Dropouts dropouts,
        double layerNormEps,
        double initializerRange,
        List<String> notes) {
    /** Of the blocks. */
    record Sizes(int hidden, int layers, int heads, int intermediate) {
        int head() {
            return hidden / heads;
        }
    }

    /** Rows of the embedding tables. */
    record Tables(int vocabulary, int positions, int tokenTypes) {}

    /** Probabilities while training. */
    record Dropouts(double hidden, double attention, double classifier) {
        static final Dropouts NONE = new Dropouts(0, 0, 0);
    }

    static BertConfig read(ModelDirectory directory) throws MalformedFileException {
        ConfigReader reader = new ConfigReader(directory);
        List<String> notes = BertKeys.TABLE.check(directory.configFile(), directory.config());
        double hiddenDropout = reader.number("hidden_dropout_prob", 0.1, 0, 1);
        BertConfig config = new BertConfig(
                new Sizes(
                        reader.count("hidden_size", 0, 65_536),
                        reader.count("num_hidden_layers", 0, 1_000),
                        reader.count("num_attention_heads", 0, 1_024),
                        reader.count("intermediate_size", 0, 1_000_000)),
                new Tables(
                        reader.count("vocab_size", 0, 10_000_000),
                        reader.count("max_position_embeddings", 512, 10_000_000),
                        reader.count("type_vocab_size", 2, 1_000_000)),
                new Dropouts(
                        hiddenDropout,
                        reader.number("attention_probs_dropout_prob", 0.1, 0, 1),
                        reader.number("classifier_dropout", hiddenDropout, 0, 1)),
                reader.number("layer_norm_eps", 1e-12, 0, 1),
                reader.number("initializer_range", 0.02, 0, 10),
                notes);
        Sizes sizes = config.sizes;
        if (sizes.hidden % sizes.heads != 0) {
            throw reader.wrong("hidden_size", "must be a multiple of num_attention_heads " + sizes.heads, sizes.hidden);
        }
        return config;
    }

    /** The same with so many layers. */
    BertConfig withLayers(int layers) {
        Sizes own = new Sizes(sizes.hidden, layers, sizes.heads, sizes.intermediate);
        return new BertConfig(own, tables, dropouts, layerNormEps, initializerRange, notes);
    }

    /** For training: refuses dropout that would not be what it says. */
    BertConfig withDropout() {
        Dropout.check(named("hidden_dropout_prob"), dropouts.hidden);
        Dropout.check(named("attention_probs_dropout_prob"), dropouts.attention);
        Dropout.check(named("classifier_dropout"), dropouts.classifier);
        return this;
    }

    private static String named(String key) {
        return key + " of the model's config.json (model.dropout: 0 trains without it)";
    }

    BertConfig withoutDropout() {
        return new BertConfig(sizes, tables, Dropouts.NONE, layerNormEps, initializerRange, notes);
    }
}
