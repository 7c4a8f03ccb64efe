package org.peft4j.model.bert;

import java.io.IOException;
import java.util.Map;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.Model;
import org.peft4j.model.ModelFamily;
import org.peft4j.model.ModelOptions;

/** Models with {@code model_type: bert}. */
public final class BertFamily implements ModelFamily {
    @Override
    public String modelType() {
        return "bert";
    }

    @Override
    public Model open(ModelDirectory directory, ModelOptions options) throws IOException {
        return new BertModel(directory, options, Map.of());
    }
}
