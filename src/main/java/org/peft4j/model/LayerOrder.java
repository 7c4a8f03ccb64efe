package org.peft4j.model;

import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;

/** Which layers of its files a model has, in which order ({@link ModelOptions#layers}). */
public final class LayerOrder {
    private LayerOrder() {}

    /**
     * The numbers that a model's layers have in its files.
     *
     * @param layers of the files
     * @param refusal why models of this type have their layers as they are; null: they need not
     * @throws ConfigException if they are asked for otherwise and cannot be so, or one is none of the model's
     */
    public static List<Integer> of(ModelOptions options, String modelType, int layers, @Nullable String refusal) {
        List<Integer> order = options.layers();
        if (order.isEmpty()) {
            return IntStream.range(0, layers).boxed().toList();
        }
        if (refusal != null) {
            throw new ConfigException("layer_replication is not offered for a model of type " + modelType + ": "
                    + refusal + "; leave it out, or take a model of another type");
        }
        int last = Collections.max(order);
        if (last >= layers) {
            throw new ConfigException("layer_replication must have ranges of the model's layers, which are 0 to "
                    + (layers - 1) + ", so that none ends above " + layers + "; got layer " + last);
        }
        return order;
    }
}
