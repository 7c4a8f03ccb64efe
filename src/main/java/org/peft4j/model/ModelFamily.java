package org.peft4j.model;

import java.io.IOException;
import org.peft4j.io.ModelDirectory;

/** One architecture: what makes models from directories of its {@code model_type}. */
public interface ModelFamily {
    /** {@code model_type} of config.json. */
    String modelType();

    ClassificationModel classification(ModelDirectory directory, int labels, ModelOptions options) throws IOException;

    EmbeddingModel embedding(ModelDirectory directory, ModelOptions options) throws IOException;
}
