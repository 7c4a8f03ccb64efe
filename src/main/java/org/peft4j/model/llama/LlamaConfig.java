package org.peft4j.model.llama;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.ConfigReader;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;
import org.peft4j.nn.Dropout;
import org.peft4j.nn.RotaryFrequencies;
import org.peft4j.ops.Ops;

/**
 * What config.json of a Llama says.
 *
 * @param stack the sizes of its blocks
 * @param notes settings of the file that nobody reads
 */
record LlamaConfig(
        ModelInfo.Stack stack,
        Vocabulary vocabulary,
        Attention attention,
        Mlp mlp,
        double rmsNormEps,
        Heads heads,
        List<String> notes) {

    /** The most that a value of a key may be, for files that are absurd. */
    private static final int MOST_LAYERS = 1_000;

    /** Names of activations in transformers; the first is Llama's. */
    private static final Map<String, Ops.Activation> ACTIVATIONS = Map.of(
            "silu", Ops.Activation.SILU,
            "swish", Ops.Activation.SILU,
            "gelu", Ops.Activation.GELU,
            "gelu_python", Ops.Activation.GELU,
            "gelu_pytorch_tanh", Ops.Activation.GELU_TANH,
            "gelu_new", Ops.Activation.GELU_TANH,
            "relu", Ops.Activation.RELU);

    /**
     * Tokens and positions.
     *
     * @param tied whether the embedding's table is the language model's head
     */
    record Vocabulary(int size, int positions, boolean tied) {}

    record Attention(RotaryFrequencies rotary, boolean bias, double dropout) {}

    record Mlp(int size, Ops.Activation activation, boolean bias) {}

    /** What the classes for classification read. */
    record Heads(double tokenDropout, boolean tokenBias, double initializerRange) {}

    static LlamaConfig read(ModelDirectory directory) throws MalformedFileException {
        ConfigReader reader = new ConfigReader(directory);
        List<String> notes = new ArrayList<>(LlamaKeys.TABLE.check(directory.configFile(), directory.config()));
        ModelInfo.Stack stack = stack(reader);
        int positions = reader.count("max_position_embeddings", 2_048, 100_000_000);
        Vocabulary vocabulary = new Vocabulary(
                reader.count("vocab_size", 0, 10_000_000), positions, reader.flag("tie_word_embeddings", false));
        Attention attention = new Attention(
                RotaryReader.read(reader, Math.toIntExact(stack.headSize()), positions, notes),
                reader.flag("attention_bias", false),
                reader.number("attention_dropout", 0, 0, 1));
        List<String> activations = new ArrayList<>(List.of("silu"));
        ACTIVATIONS.keySet().stream()
                .sorted()
                .filter(name -> !name.equals("silu"))
                .forEach(activations::add);
        Mlp mlp = new Mlp(
                reader.count("intermediate_size", 0, 10_000_000),
                activation(reader.word("hidden_act", activations)),
                reader.flag("mlp_bias", false));
        Heads heads = new Heads(
                reader.number("classifier_dropout", reader.number("hidden_dropout", 0.1, 0, 1), 0, 1),
                reader.flag("token_classification_bias", true),
                reader.number("initializer_range", 0.02, 0, 10));
        double eps = reader.number("rms_norm_eps", 1e-6, 0, 1);
        return new LlamaConfig(stack, vocabulary, attention, mlp, eps, heads, notes);
    }

    private static Ops.Activation activation(@Nullable String name) {
        Ops.Activation activation = ACTIVATIONS.get(name);
        if (activation == null) {
            throw new AssertionError(name);
        }
        return activation;
    }

    private static ModelInfo.Stack stack(ConfigReader reader) throws MalformedFileException {
        int hidden = reader.count("hidden_size", 0, 1_000_000);
        int heads = reader.count("num_attention_heads", 0, 65_536);
        if (hidden % heads != 0) {
            throw reader.wrong("hidden_size", "must be a multiple of num_attention_heads " + heads, hidden);
        }
        int keyValueHeads = reader.count("num_key_value_heads", heads, 65_536);
        if (heads % keyValueHeads != 0) {
            throw reader.wrong(
                    "num_key_value_heads", "must be a divisor of num_attention_heads " + heads, keyValueHeads);
        }
        int headSize = reader.count("head_dim", hidden / heads, 65_536);
        if (headSize % 2 != 0) {
            throw reader.wrong("head_dim", "must be even, as pairs of numbers are turned", headSize);
        }
        int layers = reader.count("num_hidden_layers", 0, MOST_LAYERS);
        return new ModelInfo.Stack(hidden, layers, heads, keyValueHeads, headSize);
    }

    /** For training: refuses dropout that would not be what it says. */
    LlamaConfig withDropout() {
        String how = " of the model's config.json (model.dropout: 0 trains without it)";
        Dropout.check("attention_dropout" + how, attention.dropout());
        Dropout.check("classifier_dropout" + how, heads.tokenDropout());
        return this;
    }

    LlamaConfig withoutDropout() {
        return new LlamaConfig(
                stack,
                vocabulary,
                new Attention(attention.rotary(), attention.bias(), 0),
                mlp,
                rmsNormEps,
                new Heads(0, heads.tokenBias(), heads.initializerRange()),
                notes);
    }
}
