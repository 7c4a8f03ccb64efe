package org.peft4j.model.decoder;

import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.RotaryReader;

/** GPT-NeoX (Black et al. 2022) and Pythia: attention and MLP side by side, a part of each head turned. */
public final class GptNeoXFamily extends DecoderFamily {
    private static final RotaryReader.Habits ROTARY =
            new RotaryReader.Habits(10_000, "rotary_emb_base", 0.25, "rotary_pct", Map.of());

    public GptNeoXFamily() {
        super(
                "gpt_neox",
                new DecoderNames(
                        new DecoderNames.Classes("GPTNeoX", "GPTNeoXForCausalLM", "classifier"),
                        new DecoderNames.Backbone("gpt_neox.", "embed_in", null, "layers", "final_layer_norm"),
                        new DecoderNames.Block(
                                new DecoderNames.Layers("attention", List.of("query_key_value"), "dense"),
                                new DecoderNames.Layers("mlp", List.of("dense_h_to_4h"), "dense_4h_to_h"),
                                DecoderNames.Norms.BEFORE),
                        false),
                DecoderKeys.all()
                        .obeyed(
                                "hidden_size",
                                "intermediate_size",
                                "num_hidden_layers",
                                "num_attention_heads",
                                "max_position_embeddings",
                                "layer_norm_eps",
                                "hidden_act",
                                "attention_bias",
                                "attention_dropout",
                                "hidden_dropout",
                                "use_parallel_residual",
                                "rotary_pct",
                                "rotary_emb_base")
                        .obeyed("rope_scaling", "rope_parameters", "original_max_position_embeddings")
                        .harmless(
                                "not read by transformers: rotary_emb_base and rotary_pct are",
                                "rope_theta",
                                "partial_rotary_factor")
                        .unset(
                                "heads are hidden_size / num_attention_heads, and each has its keys",
                                "head_dim",
                                "num_key_value_heads")
                        .build());
    }

    @Override
    String orderRefusal() {
        return LAYERS_ELSEWHERE;
    }

    @Override
    DecoderConfig read(DecoderReader config) throws MalformedFileException {
        ModelInfo.Stack stack = config.stack(new DecoderReader.Sizes(0, 0));
        int positions = config.positions(2_048);
        boolean bias = config.flag("attention_bias", true);
        double dropout = config.dropout("hidden_dropout", 0);
        DecoderConfig.Attention attention = config.attention(
                stack,
                positions,
                ROTARY,
                new DecoderConfig.Projections(bias, bias, true, DecoderConfig.QueryKeyNorm.NONE));
        DecoderConfig.Mlp mlp = new DecoderConfig.Mlp(
                config.innerSize("intermediate_size"), config.activation("hidden_act", "gelu"), false, true, null);
        return new DecoderConfig(
                stack,
                config.vocabulary(positions, false, 1, dropout),
                config.layerNorm("layer_norm_eps", 1e-5),
                new DecoderConfig.Residual(config.flag("use_parallel_residual", true), 1, dropout),
                config.layers(stack, attention, mlp),
                config.heads(config.dropout("classifier_dropout", 0.1)));
    }
}
