package org.peft4j.model;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.bert.BertFamily;
import org.peft4j.model.decoder.Gemma2Family;
import org.peft4j.model.decoder.Gemma3TextFamily;
import org.peft4j.model.decoder.GemmaFamily;
import org.peft4j.model.decoder.Gpt2Family;
import org.peft4j.model.decoder.GptNeoXFamily;
import org.peft4j.model.decoder.GraniteFamily;
import org.peft4j.model.decoder.LlamaFamily;
import org.peft4j.model.decoder.MistralFamily;
import org.peft4j.model.decoder.MixtralFamily;
import org.peft4j.model.decoder.Olmo2Family;
import org.peft4j.model.decoder.Phi3Family;
import org.peft4j.model.decoder.Qwen3MoeFamily;
import org.peft4j.model.decoder.QwenFamily;
import org.peft4j.model.decoder.SmolLm3Family;

/** The architectures we know, by {@code model_type}. A new one is added here. */
public final class Models {
    private static final Map<String, ModelFamily> FAMILIES = new TreeMap<>();

    static {
        for (ModelFamily family : List.of(
                new BertFamily(),
                new LlamaFamily(),
                new MistralFamily(),
                new QwenFamily.Qwen2(),
                new QwenFamily.Qwen3(),
                new GemmaFamily(),
                new Gemma2Family(),
                new Gemma3TextFamily(),
                new Phi3Family(),
                new SmolLm3Family(),
                new Olmo2Family(),
                new GraniteFamily(),
                new GptNeoXFamily(),
                new Gpt2Family(),
                new MixtralFamily(),
                new Qwen3MoeFamily())) {
            FAMILIES.put(family.modelType(), family);
        }
    }

    private Models() {}

    /** Every {@code model_type}. */
    public static Set<String> types() {
        return FAMILIES.keySet();
    }

    /** The family of a {@code model_type}, or null. */
    public static @Nullable ModelFamily family(String modelType) {
        return FAMILIES.get(modelType);
    }

    public static ModelFamily family(ModelDirectory directory) throws IOException {
        ModelFamily family = family(directory.modelType());
        if (family == null) {
            throw new MalformedFileException(
                    directory.configFile(),
                    -1,
                    "model_type must be one of " + FAMILIES.keySet() + ", got '" + directory.modelType() + "'");
        }
        return family;
    }
}
