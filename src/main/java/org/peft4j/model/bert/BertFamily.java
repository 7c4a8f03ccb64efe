package org.peft4j.model.bert;

import java.io.IOException;
import java.util.Map;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.ClassificationModel;
import org.peft4j.model.EmbeddingModel;
import org.peft4j.model.ModelFamily;
import org.peft4j.model.ModelOptions;

/** Models with {@code model_type: bert}. */
public final class BertFamily implements ModelFamily {
    @Override
    public String modelType() {
        return "bert";
    }

    @Override
    public ClassificationModel classification(ModelDirectory directory, int labels, ModelOptions options)
            throws IOException {
        return new BertClassifier(directory, labels, options, Map.of());
    }

    @Override
    public EmbeddingModel embedding(ModelDirectory directory, ModelOptions options) throws IOException {
        return new BertEmbedder(directory, options);
    }
}
