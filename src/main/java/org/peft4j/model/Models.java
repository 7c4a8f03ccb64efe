package org.peft4j.model;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.bert.BertFamily;
import org.peft4j.model.llama.LlamaFamily;

/** The architectures we know, by {@code model_type}. A new one is added here. */
public final class Models {
    private static final Map<String, ModelFamily> FAMILIES = new TreeMap<>();

    static {
        for (ModelFamily family : List.of(new BertFamily(), new LlamaFamily())) {
            FAMILIES.put(family.modelType(), family);
        }
    }

    private Models() {}

    public static ModelFamily family(ModelDirectory directory) throws IOException {
        ModelFamily family = FAMILIES.get(directory.modelType());
        if (family == null) {
            throw new MalformedFileException(
                    directory.configFile(),
                    -1,
                    "model_type must be one of " + FAMILIES.keySet() + ", got '" + directory.modelType() + "'");
        }
        return family;
    }
}
