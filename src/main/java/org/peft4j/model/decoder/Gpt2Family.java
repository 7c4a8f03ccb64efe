package org.peft4j.model.decoder;

import java.util.ArrayList;
import java.util.List;
import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;

/** GPT-2 (Radford et al. 2019): learned positions, and linear layers that files have the other way round. */
public final class Gpt2Family extends DecoderFamily {
    public Gpt2Family() {
        super(
                "gpt2",
                new DecoderNames(
                        new DecoderNames.Classes("GPT2", "GPT2LMHeadModel", "classifier"),
                        new DecoderNames.Backbone("transformer.", "wte", "wpe", "h", "ln_f"),
                        new DecoderNames.Block(
                                new DecoderNames.Layers("attn", List.of("c_attn"), "c_proj"),
                                new DecoderNames.Layers("mlp", List.of("c_fc"), "c_proj"),
                                new DecoderNames.Norms("ln_1", null, "ln_2", null)),
                        true),
                DecoderKeys.all()
                        .obeyed(
                                "hidden_size",
                                "num_hidden_layers",
                                "num_attention_heads",
                                "max_position_embeddings",
                                "n_embd",
                                "n_layer",
                                "n_head",
                                "n_positions",
                                "n_inner",
                                "layer_norm_epsilon",
                                "activation_function",
                                "embd_pdrop",
                                "attn_pdrop",
                                "resid_pdrop",
                                "hidden_dropout",
                                "scale_attn_weights",
                                "scale_attn_by_inverse_layer_idx")
                        .unset(
                                "heads are hidden_size / num_attention_heads, and each has its keys",
                                "head_dim",
                                "num_key_value_heads")
                        .harmless("the number of positions again", "n_ctx")
                        .harmless(
                                "where scores are scaled and rounded; the result is the same",
                                "reorder_and_upcast_attn")
                        .harmless(
                                "of a class that chooses among texts",
                                "summary_type",
                                "summary_use_proj",
                                "summary_activation",
                                "summary_proj_to_labels",
                                "summary_first_dropout",
                                "summary_last_dropout")
                        .build());
    }

    @Override
    String orderRefusal() {
        return LAYERS_ELSEWHERE;
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(
                config.given("hidden_size", "n_embd"),
                config.given("num_hidden_layers", "n_layer"),
                config.given("num_attention_heads", "n_head"),
                new DecoderReader.Sizes(0, 0));
        int positions = config.count(config.given("max_position_embeddings", "n_positions"), 1_024);
        boolean scaled = config.flag("scale_attn_weights", true);
        boolean byLayer = config.flag("scale_attn_by_inverse_layer_idx", false);
        DecoderConfig.Mlp mlp = new DecoderConfig.Mlp(
                config.count("n_inner", Math.toIntExact(4 * stack.hiddenSize())),
                config.activation("activation_function", "gelu_new"),
                false,
                true,
                null);
        List<DecoderConfig.Layer> layers = new ArrayList<>();
        for (int layer = 0; layer < stack.layers(); layer++) {
            double scale = (scaled ? 1 / Math.sqrt(stack.headSize()) : 1) / (byLayer ? layer + 1 : 1);
            layers.add(new DecoderConfig.Layer(
                    new DecoderConfig.Attention(
                            null,
                            scale,
                            0,
                            0,
                            config.dropout("attn_pdrop", 0.1),
                            DecoderConfig.Projections.plain(true, true)),
                    mlp));
        }
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, true, 1, config.dropout("embd_pdrop", 0.1)),
                config.layerNorm("layer_norm_epsilon", 1e-5),
                new DecoderConfig.Residual(false, 1, config.dropout("resid_pdrop", 0.1)),
                layers,
                config.heads());
    }
}
