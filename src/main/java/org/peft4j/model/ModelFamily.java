package org.peft4j.model;

import java.io.IOException;
import org.peft4j.io.ModelDirectory;

/** One architecture: what makes models from directories of its {@code model_type}. */
public interface ModelFamily {
    /** {@code model_type} of config.json. */
    String modelType();

    /**
     * Opens the backbone of a directory.
     *
     * @throws org.peft4j.error.MalformedFileException if a file is not what it should be, or asks for what is not offered
     */
    Model open(ModelDirectory directory, ModelOptions options) throws IOException;
}
