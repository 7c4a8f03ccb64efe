package org.peft4j.nn.seam;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What the adapters of one call claim at one point, looked up once ({@link ForwardContext#at}).
 *
 * @param <C> what may be claimed there
 */
public final class Claims<C> {
    private static final Claims<?> NONE = new Claims<>(Map.of());

    private final Map<List<Adapter>, List<C>> byAdapters;

    private Claims(Map<List<Adapter>, List<C>> byAdapters) {
        this.byAdapters = byAdapters;
    }

    @SuppressWarnings("unchecked") // an empty map has keys and values of any type
    static <C> Claims<C> of(Point<C> point, List<ForwardContext.Segment> segments) {
        Map<List<Adapter>, List<C>> found = new LinkedHashMap<>();
        for (ForwardContext.Segment segment : segments) {
            List<C> claims = segment.adapters().stream()
                    .flatMap(adapter -> adapter.at(point).stream())
                    .toList();
            if (!claims.isEmpty()) {
                segment.checkTask();
                found.put(segment.adapters(), claims);
            }
        }
        return found.isEmpty() ? (Claims<C>) NONE : new Claims<>(found);
    }

    /** Whether no adapter of the call claims the point. */
    public boolean isEmpty() {
        return byAdapters.isEmpty();
    }

    /** What the adapters of these sequences claim, in their order. */
    public List<C> of(ForwardContext.Segment segment) {
        return byAdapters.getOrDefault(segment.adapters(), List.of());
    }

    /** The claim of a point that at most one adapter may claim for the same rows; the fallback if there is none. */
    public <T extends @org.jspecify.annotations.Nullable Object> T one(
            ForwardContext.Segment segment, java.util.function.Function<C, T> use, T fallback) {
        List<C> claims = of(segment);
        return claims.isEmpty() ? fallback : use.apply(claims.get(0));
    }
}
