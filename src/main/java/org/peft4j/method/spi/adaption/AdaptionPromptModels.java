package org.peft4j.method.spi.adaption;

import java.util.List;
import java.util.Map;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;

/** Models that Hugging Face PEFT has LLaMA-Adapter for, and what differs from one to the other. */
final class AdaptionPromptModels {
    /** The attention module's name by the model's type. */
    private static final Map<String, String> MODULES =
            Map.of("llama", "self_attn", "mistral", "self_attn", "gpt2", "attn");

    private static final List<String> TYPES = List.of("llama", "mistral", "gpt2");

    private AdaptionPromptModels() {}

    /** Names of attention modules. */
    static List<String> modules() {
        return MODULES.values().stream().distinct().sorted().toList();
    }

    static String module(Points points) {
        return MODULES.getOrDefault(points.modelType(), "");
    }

    /** Whether it is added behind the output projection. */
    static boolean behindOutput(Points points) {
        return points.modelType().equals("gpt2");
    }

    /**
     * The layers, the last ones of the model.
     *
     * @param layers how many, 0: all
     * @throws IllegalArgumentException if PEFT has it not for this model, or the model has fewer
     */
    static List<KeyValuePoint> sites(Points points, int layers) {
        if (!MODULES.containsKey(points.modelType())) {
            throw new IllegalArgumentException("method: LLaMA-Adapter is offered for models of the types " + TYPES
                    + ", as in Hugging Face PEFT, and this one's is " + points.modelType());
        }
        List<KeyValuePoint> all = points.keyValues();
        if (layers > all.size()) {
            throw new IllegalArgumentException(
                    "adapter_layers: " + layers + " layers are more than the model's " + all.size());
        }
        List<KeyValuePoint> sites = layers == 0 ? all : all.subList(all.size() - layers, all.size());
        sites.forEach(site -> check(points, site));
        return sites;
    }

    private static void check(Points points, KeyValuePoint site) {
        if (points.queryHeads() * site.headSize() != points.hiddenSize()) {
            throw new IllegalArgumentException("method: " + points.queryHeads() + " heads of " + site.headSize()
                    + " are not the model's width of " + points.hiddenSize()
                    + ", and LLaMA-Adapter of Hugging Face PEFT knows no such model");
        }
        TensorPoint bias = points.tensors().get(site.path() + ".o_proj.bias");
        if (bias != null) {
            throw new IllegalArgumentException("method: " + bias.path()
                    + " would be added twice by LLaMA-Adapter of Hugging Face PEFT, so that even an untrained one changes"
                    + " the model; it is offered for models without attention_bias");
        }
    }
}
