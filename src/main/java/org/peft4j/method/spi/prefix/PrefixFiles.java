package org.peft4j.method.spi.prefix;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.prefix.InitPrefix;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Points;

/** The config of a prefix as Hugging Face PEFT 0.21 writes it. */
final class PrefixFiles {
    /** What each key means. */
    static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed(
                    "num_virtual_tokens",
                    "prefix_projection",
                    "encoder_hidden_size",
                    "num_layers",
                    "num_attention_heads",
                    "token_dim")
            .only("init_weights", List.of("zero"), "PEFT knows no such start")
            .only(
                    "num_transformer_submodules",
                    List.of(1),
                    "models of an encoder and a decoder with a prefix each are not offered")
            .build();

    private PrefixFiles() {}

    static PrefixConfig read(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        boolean projection = config.flag("prefix_projection");
        int encoderHiddenSize = config.count("encoder_hidden_size", 0); // PEFT writes one without a projection, too
        try {
            return new PrefixConfig(
                    config.count("num_virtual_tokens", 0),
                    projection,
                    projection ? encoderHiddenSize : 0,
                    "zero".equals(config.get("init_weights")) ? InitPrefix.ZERO : InitPrefix.RANDOM,
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    /** The table is laid out by these sizes, so they have to be the model's. */
    static void checkModel(AdapterFile file, Points points) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        sizes(points).forEach((key, size) -> {
            if (config.count(key, size) != size) {
                throw config.wrong(key, "must be " + size + " for this model", config.get(key));
            }
        });
    }

    private static Map<String, Integer> sizes(Points points) {
        KeyValuePoint point = points.keyValues().get(0);
        Map<String, Integer> sizes = new LinkedHashMap<>();
        sizes.put("num_attention_heads", Math.toIntExact(point.heads()));
        sizes.put("num_layers", points.layers());
        sizes.put("token_dim", Math.toIntExact(point.heads() * point.headSize()));
        return sizes;
    }

    static Map<String, Object> write(PrefixConfig config, long inner, Points points) {
        Map<String, Object> file = new LinkedHashMap<>(sizes(points));
        file.put("encoder_hidden_size", inner);
        file.put("init_weights", config.init() == InitPrefix.ZERO ? "zero" : null);
        file.put("num_transformer_submodules", 1);
        file.put("num_virtual_tokens", config.virtualTokens());
        file.put("prefix_projection", config.projection());
        return file;
    }
}
