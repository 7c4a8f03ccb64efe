package org.peft4j.nn.seam;

import java.util.List;

/** Claim of a {@link SublayerPoint} that mixes what several others would add there, its experts. */
public interface SublayerFusion extends SublayerUpdate {
    /** Names of the adapters that the experts are of, in their order; the same at each point of an adapter. */
    List<String> names();

    /**
     * The same mixture of others.
     *
     * @param experts one for each name, in that order
     * @throws IllegalArgumentException if they are more or fewer, or read other rows, or are added to others, than those that it
     *     was made for
     */
    SublayerFusion withExperts(List<? extends SublayerAddition> experts);

    /** The names of an adapter's experts, in their order; empty if it mixes none. */
    static List<String> namesOf(Adapter adapter) {
        return adapter.claims(SublayerPoint.class).values().stream()
                .flatMap(List::stream)
                .filter(SublayerFusion.class::isInstance)
                .map(claim -> ((SublayerFusion) claim).names())
                .findFirst()
                .orElse(List.of());
    }
}
