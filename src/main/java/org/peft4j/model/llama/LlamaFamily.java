package org.peft4j.model.llama;

import java.io.IOException;
import java.util.Map;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.Model;
import org.peft4j.model.ModelFamily;
import org.peft4j.model.ModelOptions;

/** Models with {@code model_type: llama}. */
public final class LlamaFamily implements ModelFamily {
    @Override
    public String modelType() {
        return "llama";
    }

    @Override
    public Model open(ModelDirectory directory, ModelOptions options) throws IOException {
        return new LlamaModel(directory, options, Map.of());
    }
}
