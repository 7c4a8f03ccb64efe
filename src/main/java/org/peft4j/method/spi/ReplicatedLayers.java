package org.peft4j.method.spi;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.AtomicFileSets;
import org.peft4j.io.Json;
import org.peft4j.method.LayerReplication;
import org.peft4j.method.MethodConfig;
import org.peft4j.nn.seam.Points;

/** Whether a model has its layers in the order that an adapter was made for. */
public final class ReplicatedLayers {
    /** PEFT's key. */
    public static final String KEY = "layer_replication";

    private ReplicatedLayers() {}

    private static LayerReplication of(@Nullable Object value) {
        if (value == null) {
            return LayerReplication.NONE;
        }
        List<List<Integer>> ranges = new ArrayList<>();
        boolean good = value instanceof List<?>;
        for (Object range : value instanceof List<?> list ? list : List.of()) {
            List<Integer> own = new ArrayList<>();
            for (Object bound : range instanceof List<?> list ? list : List.of()) {
                good &= bound instanceof Number n && n.doubleValue() == n.intValue();
                own.add(bound instanceof Number n ? n.intValue() : -1);
            }
            ranges.add(own);
        }
        if (!good) {
            throw new IllegalArgumentException(
                    "layerReplication must be a list of ranges such as [[0, 4], [2, 5]], got " + Json.shown(value));
        }
        return new LayerReplication(ranges);
    }

    /**
     * What an adapter's config asks for.
     *
     * @throws IllegalArgumentException if it is no list of ranges
     */
    public static LayerReplication read(PeftConfigReader config) {
        return of(config.get(KEY));
    }

    /**
     * How a model has to be opened for an adapter. Of files that cannot be read, or ask for nonsense, nothing is said here: loading
     * the adapter does.
     *
     * @param directory the adapter's; null: none
     */
    public static LayerReplication wanted(@Nullable Path directory) {
        try {
            return directory == null
                    ? LayerReplication.NONE
                    : of(Json.readObject(AtomicFileSets.current(directory).resolve(AdapterFiles.CONFIG))
                            .get(KEY));
        } catch (IOException | MalformedFileException | IllegalArgumentException e) {
            return LayerReplication.NONE;
        }
    }

    /**
     * Refuses an adapter on a model that was opened with other layers than it is for.
     *
     * @throws IllegalArgumentException naming the way out
     */
    public static void check(MethodConfig config, Points points) {
        LayerReplication wanted = config.layerReplication();
        if (!wanted.layers().equals(points.layerOrder())) {
            throw new IllegalArgumentException("layerReplication must be what the model was opened with, its layers "
                    + (points.layerOrder().isEmpty()
                            ? "as they are"
                            : points.layerOrder().toString()) + "; the adapter has "
                    + (wanted.isNone() ? "none" : wanted.toString())
                    + ": open the model for this adapter (BaseModel.open(config, adapter), or"
                    + " ModelConfig.withLayerReplication)");
        }
    }
}
