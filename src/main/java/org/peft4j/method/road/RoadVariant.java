package org.peft4j.method.road;

import java.util.Locale;

/** How many angles and factors RoAd trains of a layer with m outputs; of each there are as many. */
public enum RoadVariant {
    /** One for a pair of outputs: m / 2. */
    ROAD_1,
    /** One for an output: m. */
    ROAD_2,
    /** One for each of an output's two terms: 2 m. */
    ROAD_4;

    /** Its name in files. */
    public String fileName() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** Number of angles of a layer. */
    public long size(long outputs) {
        return switch (this) {
            case ROAD_1 -> outputs / 2;
            case ROAD_2 -> outputs;
            case ROAD_4 -> 2 * outputs;
        };
    }
}
