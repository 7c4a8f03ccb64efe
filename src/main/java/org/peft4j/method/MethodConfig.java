package org.peft4j.method;

import java.nio.file.Path;
import java.util.List;

/**
 * Settings of one adapter method, whose class says which: a record, checked by its constructor, equal for equal settings.
 */
public interface MethodConfig {
    /** Modules that are trained and saved as a whole, such as the head of a classifier. */
    List<String> modulesToSave();

    /** Directories of adapters of the same model that the adapter is made from. */
    default List<Path> madeFrom() {
        return List.of();
    }

    /** The same settings with other modules trained as a whole. */
    MethodConfig withModulesToSave(List<String> modulesToSave);

    /** The layers that the model has to have for it, in their order. */
    default LayerReplication layerReplication() {
        return LayerReplication.NONE;
    }
}
