package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValueCache;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.PrefixKeyValues;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Ops;

/**
 * Attention in which a row sees its own sequence up to itself, and the prefix of its adapter: of whole sequences, or of the
 * newest rows against a cache.
 *
 * @param point where prefixes are claimed
 * @param scale of the scores
 * @param dropout of the probabilities, while training
 */
public record CausalAttention(KeyValuePoint point, Rotary rotary, double scale, double dropout) {
    /**
     * @param q [R, heads, D] of the read rows, not turned yet
     * @param k [T, key heads, D] of all rows, not turned yet; v alike
     * @param rows the read ones, which end with their sequences
     * @return [R, heads, D]
     */
    public Tensor forward(Tensor q, Tensor k, Tensor v, ReadRows rows, ForwardContext context) {
        return Scopes.scoped(() -> {
            Packing all = context.packing();
            Packing read = rows.packing(context);
            Tensor positions = context.once(Rotary.class, () -> positions(context));
            KeyValueCache cache = context.cache();
            Ops.Rotated turned = read == all
                    ? rotary.turn(q, k, positions, all, context)
                    : new Ops.Rotated(
                            rotary.turn(q, rows.select(positions, context), read, context),
                            rotary.turn(k, positions, all, context));
            if (cache == null) {
                return prompts(turned.q(), turned.k(), v, read, context, null);
            }
            cache.write(point.layer(), turned.k(), v);
            return cache.filled()
                    ? decode(turned.q(), cache.read(point.layer()))
                    : prompts(turned.q(), turned.k(), v, read, context, cache);
        });
    }

    private static Tensor positions(ForwardContext context) {
        long[] positions = context.positions();
        return Tensors.ofLongs(positions, positions.length);
    }

    /** Whole sequences; what their adapters put before them goes into the cache, if there is one. */
    private Tensor prompts(
            Tensor q, Tensor k, Tensor v, Packing read, ForwardContext context, @Nullable KeyValueCache cache) {
        Packing all = context.packing();
        Claims<PrefixKeyValues> prefixes = context.at(point);
        return context.bySegment(q, read, prefixes::of, (segment, part, firstRow) -> {
            boolean whole = segment.first() == 0 && segment.last() == all.sequences();
            Packing keys = whole ? all : all.slice(segment.first(), segment.last());
            Packing queries = whole ? read : read.slice(segment.first(), segment.last());
            long begin = all.begin(segment.first());
            ScalarType type = q.scalar_type();
            PrefixKeyValues.KeyValues prefix = prefixes.one(segment, claim -> claim.keyValues(context), null);
            Tensor prefixKeys = prefix == null ? null : prefix.keys().to(type);
            Tensor prefixValues = prefix == null ? null : prefix.values().to(type);
            if (cache != null && prefixKeys != null && prefixValues != null) {
                for (int s = segment.first(); s < segment.last(); s++) {
                    cache.writePrefix(point.layer(), s, prefixKeys, prefixValues);
                }
            }
            return Ops.attention(
                    part,
                    whole ? k : k.narrow(0, begin, keys.rows()),
                    whole ? v : v.narrow(0, begin, keys.rows()),
                    queries.cuSeqlens(),
                    keys.cuSeqlens(),
                    queries.longest(),
                    keys.longest(),
                    prefixKeys,
                    prefixValues,
                    null,
                    new Ops.AttentionSettings(
                            true,
                            scale,
                            0,
                            context.training() ? dropout : 0,
                            context.seed(point.path() + "#" + firstRow)));
        });
    }

    private Tensor decode(Tensor q, KeyValueCache.Rows rows) {
        return Ops.attentionDecode(
                q,
                rows.keys(),
                rows.values(),
                rows.packing().cuSeqlens(),
                rows.packing().longest(),
                rows.blockTable(),
                null,
                null,
                scale,
                0,
                0);
    }
}
