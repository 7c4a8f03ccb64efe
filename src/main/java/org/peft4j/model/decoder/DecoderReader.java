package org.peft4j.model.decoder;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.ConfigReader;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;
import org.peft4j.nn.RotaryFrequencies;
import org.peft4j.ops.Ops;

/** Reads what most families have in their config.json under the same names. */
final class DecoderReader {
    /** The most that a value of a key may be, for files that are absurd. */
    private static final int MOST_LAYERS = 1_000;

    private static final int MOST = 1_000_000;
    private static final int MOST_TOKENS = 10_000_000;
    private static final int MOST_POSITIONS = 100_000_000;

    /** Names of activations in transformers; the first of a list is the family's own. */
    private static final Map<String, Ops.Activation> ACTIVATIONS = Map.of(
            "silu", Ops.Activation.SILU,
            "swish", Ops.Activation.SILU,
            "gelu", Ops.Activation.GELU,
            "gelu_python", Ops.Activation.GELU,
            "gelu_pytorch_tanh", Ops.Activation.GELU_TANH,
            "gelu_new", Ops.Activation.GELU_TANH,
            "gelu_fast", Ops.Activation.GELU_TANH,
            "relu", Ops.Activation.RELU);

    private static final String WINDOW = "sliding_window";
    private static final List<String> LAYER_TYPES = List.of("full_attention", "sliding_attention");

    private final ConfigReader config;
    private final List<String> notes;

    /** @param notes gets what a user should know */
    DecoderReader(ModelDirectory directory, List<String> notes) {
        config = new ConfigReader(directory);
        this.notes = notes;
    }

    ConfigReader config() {
        return config;
    }

    /** A limit that a family has unless the file says null; 0: none. */
    double usual(String key, double usual) throws MalformedFileException {
        return has(key) ? positive(key, 0) : usual;
    }

    /** Whether the file says something of a key, be it null: where null switches off what there is otherwise. */
    private boolean has(String key) {
        return config.keys().contains(key);
    }

    boolean flag(String key, boolean fallback) throws MalformedFileException {
        return config.flag(key, fallback);
    }

    /** A factor or a limit above 0; fallback where the key is missing or null. */
    double positive(String key, double fallback) throws MalformedFileException {
        double value = config.number(key, fallback, 0, 1e9);
        if (value == 0 && config.get(key) != null) {
            throw config.wrong(key, "must be a number above 0", config.get(key));
        }
        return value;
    }

    int count(String key, int fallback) throws MalformedFileException {
        return config.count(key, fallback, MOST_TOKENS);
    }

    int atLeast0(String key, int fallback) throws MalformedFileException {
        Object value = config.get(key);
        return value instanceof Number number && number.doubleValue() == 0 ? 0 : count(key, fallback);
    }

    double dropout(String key, double fallback) throws MalformedFileException {
        return config.number(key, fallback, 0, 1);
    }

    /**
     * Sizes where config.json says nothing.
     *
     * @param keyValueHeads 0: as many as queries
     * @param headSize 0: hidden_size / num_attention_heads
     */
    record Sizes(int keyValueHeads, int headSize) {}

    ModelInfo.Stack stack(Sizes defaults) throws MalformedFileException {
        return stack("hidden_size", "num_hidden_layers", "num_attention_heads", defaults);
    }

    /** The first key that the file has; the last one if it has none. */
    String given(String... keys) {
        for (String key : keys) {
            if (config.get(key) != null) {
                return key;
            }
        }
        return keys[keys.length - 1];
    }

    ModelInfo.Stack stack(String hiddenKey, String layersKey, String headsKey, Sizes defaults)
            throws MalformedFileException {
        int hidden = config.count(hiddenKey, 0, MOST);
        int heads = config.count(headsKey, 0, 65_536);
        boolean given = config.get("head_dim") != null || defaults.headSize() != 0;
        if (!given && hidden % heads != 0) {
            throw config.wrong(hiddenKey, "must be a multiple of " + headsKey + " " + heads, hidden);
        }
        int keyValueHeads = config.count(
                "num_key_value_heads", defaults.keyValueHeads() == 0 ? heads : defaults.keyValueHeads(), 65_536);
        if (heads % keyValueHeads != 0) {
            throw config.wrong("num_key_value_heads", "must be a divisor of " + headsKey + " " + heads, keyValueHeads);
        }
        int headSize =
                config.count("head_dim", defaults.headSize() == 0 ? hidden / heads : defaults.headSize(), 65_536);
        if (headSize % 2 != 0) {
            throw config.wrong("head_dim", "must be even, as pairs of numbers are turned", headSize);
        }
        int layers = config.count(layersKey, 0, MOST_LAYERS);
        return new ModelInfo.Stack(hidden, layers, heads, keyValueHeads, headSize);
    }

    int positions(int fallback) throws MalformedFileException {
        return config.count("max_position_embeddings", fallback, MOST_POSITIONS);
    }

    /** A vocabulary whose rows go into the first block as they are. */
    DecoderConfig.Vocabulary vocabulary(int positions, boolean tied) throws MalformedFileException {
        return vocabulary(positions, tied, 1, 0);
    }

    DecoderConfig.Vocabulary vocabulary(int positions, boolean tied, double scale, double dropout)
            throws MalformedFileException {
        return new DecoderConfig.Vocabulary(
                config.count("vocab_size", 0, MOST_TOKENS),
                positions,
                config.flag("tie_word_embeddings", tied),
                scale,
                dropout);
    }

    DecoderConfig.Norm rmsNorm(double eps, double offset) throws MalformedFileException {
        return new DecoderConfig.Norm(DecoderConfig.Norm.Kind.RMS, config.number("rms_norm_eps", eps, 0, 1), offset);
    }

    DecoderConfig.Norm layerNorm(String key, double eps) throws MalformedFileException {
        return new DecoderConfig.Norm(DecoderConfig.Norm.Kind.LAYER, config.number(key, eps, 0, 1), 0);
    }

    /** @param key of the count, before another one */
    DecoderConfig.Experts experts(String key, String other, int count, int chosen, boolean normalised)
            throws MalformedFileException {
        String given = has(key) ? key : other;
        int experts = config.count(given, count, 65_536);
        int few = config.count("num_experts_per_tok", chosen, 65_536);
        if (few > experts) {
            throw config.wrong("num_experts_per_tok", "must be at most " + given + " " + experts, few);
        }
        return new DecoderConfig.Experts(experts, few, normalised);
    }

    /** @param own the activation where nothing is said, by its name in transformers */
    Ops.Activation activation(String key, String own) throws MalformedFileException {
        List<String> names = new ArrayList<>(List.of(own));
        ACTIVATIONS.keySet().stream().sorted().filter(name -> !name.equals(own)).forEach(names::add);
        Ops.Activation activation = ACTIVATIONS.get(config.word(key, names));
        if (activation == null) {
            throw new AssertionError(own);
        }
        return activation;
    }

    long innerSize(String key) throws MalformedFileException {
        return config.count(key, 0, MOST_TOKENS);
    }

    /** A gated MLP with SiLU unless the file says another activation. */
    DecoderConfig.Mlp gatedMlp(boolean bias) throws MalformedFileException {
        return gatedMlp(activation("hidden_act", "silu"), bias);
    }

    DecoderConfig.Mlp gatedMlp(Ops.Activation activation, boolean bias) throws MalformedFileException {
        return new DecoderConfig.Mlp(innerSize("intermediate_size"), activation, true, bias, null);
    }

    /** Attention with a rotary embedding, scores scaled by the heads' size, to all rows before. */
    DecoderConfig.Attention attention(
            ModelInfo.Stack stack, int positions, RotaryReader.Habits rotary, DecoderConfig.Projections projections)
            throws MalformedFileException {
        return attention(stack, rotary(stack, positions, rotary), projections);
    }

    DecoderConfig.Attention attention(
            ModelInfo.Stack stack, RotaryFrequencies rotary, DecoderConfig.Projections projections)
            throws MalformedFileException {
        return new DecoderConfig.Attention(
                rotary, 1 / Math.sqrt(stack.headSize()), 0, 0, dropout("attention_dropout", 0), projections);
    }

    private RotaryFrequencies rotary(ModelInfo.Stack stack, int positions, RotaryReader.Habits habits)
            throws MalformedFileException {
        return RotaryReader.read(config, Math.toIntExact(stack.headSize()), positions, habits, notes);
    }

    RotaryFrequencies rotary(
            @Nullable ConfigReader inside,
            String place,
            ModelInfo.Stack stack,
            int positions,
            RotaryReader.Habits habits)
            throws MalformedFileException {
        return RotaryReader.read(config, inside, place, Math.toIntExact(stack.headSize()), positions, habits, notes);
    }

    /** {@code sliding_window}; 0 where it is missing or null, unless there is a fallback. */
    long window(int fallback) throws MalformedFileException {
        return config.get(WINDOW) == null && fallback == 0 ? 0 : config.count(WINDOW, fallback, MOST_POSITIONS);
    }

    /** {@code sliding_window} of a family that has one unless the file says null. */
    long usualWindow(int usual) throws MalformedFileException {
        return has(WINDOW) ? window(0) : usual;
    }

    /** The same where {@code use_sliding_window} has to switch it on. */
    long switchedWindow(int fallback) throws MalformedFileException {
        return flag("use_sliding_window", false) ? window(fallback) : 0;
    }

    /**
     * For each block whether a window hides rows: {@code layer_types}, or else what the family has.
     *
     * @param window 0: there is none, so no block may ask for it
     */
    boolean[] sliding(int layers, long window, IntPredicate otherwise) throws MalformedFileException {
        boolean[] sliding = new boolean[layers];
        Object types = config.get("layer_types");
        for (int i = 0; i < layers; i++) {
            sliding[i] = types == null && otherwise.test(i);
        }
        if (types == null) {
            return sliding;
        }
        if (!(types instanceof List<?> list) || list.size() < layers || !LAYER_TYPES.containsAll(list)) {
            throw config.wrong(
                    "layer_types",
                    "must be a list with one of " + LAYER_TYPES + " for each of " + layers + " layers",
                    types);
        }
        for (int i = 0; i < layers; i++) {
            sliding[i] = list.get(i).equals("sliding_attention");
            if (sliding[i] && window == 0) {
                throw config.wrong(
                        "layer_types",
                        "asks for sliding_attention, which must have a sliding_window, with use_sliding_window where"
                                + " there is such a key",
                        types);
            }
        }
        return sliding;
    }

    /** Whole numbers of a list with at least so many; null where the key is missing or null. */
    int @Nullable [] numbers(String key, int atLeast) throws MalformedFileException {
        Object value = config.get(key);
        if (value == null) {
            return null;
        }
        if (!(value instanceof List<?> list)
                || list.size() < atLeast
                || !list.stream().allMatch(one -> one instanceof Number n && n.doubleValue() == n.intValue())) {
            throw config.wrong(key, "must be a list of at least " + atLeast + " whole numbers", value);
        }
        return list.stream().mapToInt(one -> ((Number) one).intValue()).toArray();
    }

    /** A language model's logits as they are. */
    DecoderConfig.Heads heads() throws MalformedFileException {
        return heads(0, 1);
    }

    DecoderConfig.Heads heads(double softcap, double scale) throws MalformedFileException {
        return heads(softcap, scale, dropout("classifier_dropout", dropout("hidden_dropout", 0.1)));
    }

    /** The same with another dropout of the class for token classification. */
    DecoderConfig.Heads heads(double tokenDropout) throws MalformedFileException {
        return heads(0, 1, tokenDropout);
    }

    private DecoderConfig.Heads heads(double softcap, double scale, double tokenDropout) throws MalformedFileException {
        return new DecoderConfig.Heads(
                softcap,
                scale,
                new DecoderConfig.Tokens(tokenDropout, config.flag("token_classification_bias", true)),
                config.number("initializer_range", 0.02, 0, 10),
                padding());
    }

    private @Nullable Integer padding() throws MalformedFileException {
        Object value = config.get("pad_token_id");
        if (value != null && !(value instanceof Integer)) {
            throw config.wrong("pad_token_id", "must be the number of a token", value);
        }
        return (Integer) value;
    }

    /** The same attention in every block but for the window. */
    List<DecoderConfig.Layer> layers(
            ModelInfo.Stack stack, DecoderConfig.Attention attention, DecoderConfig.Mlp mlp, boolean... sliding) {
        List<DecoderConfig.Layer> layers = new ArrayList<>();
        for (int i = 0; i < stack.layers(); i++) {
            boolean windowed = sliding.length == 0 || sliding[i];
            layers.add(new DecoderConfig.Layer(windowed ? attention : attention.withWindow(0), mlp));
        }
        return layers;
    }
}
