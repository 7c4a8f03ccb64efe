package org.peft4j.train;

import java.io.IOException;
import org.peft4j.config.Dtype;
import org.peft4j.config.ModelConfig;
import org.peft4j.io.BaseHash;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.Model;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Models;

/**
 * A base and where it comes from.
 *
 * @param hash {@link BaseHash} of the directory
 */
public record OpenedModel(ModelConfig config, ModelDirectory directory, String hash, Model model) {
    /** @param seed of what a directory lacks */
    public static OpenedModel open(ModelConfig config, long seed) throws IOException {
        ModelDirectory directory = ModelDirectory.open(config.path());
        String hash = BaseHash.of(directory);
        ModelOptions options = new ModelOptions(
                config.dtype() == Dtype.BFLOAT16, config.dropout() == ModelConfig.Dropout.CONFIG, seed);
        return new OpenedModel(config, directory, hash, Models.family(directory).open(directory, options));
    }
}
