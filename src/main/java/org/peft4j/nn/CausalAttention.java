package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValueCache;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.PrefixKeyValues;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/**
 * Attention in which a row sees its own sequence up to itself, and the prefix of its adapter: of whole sequences, or of the
 * newest rows against a cache. A window hides rows of the sequence, never the prefix.
 *
 * @param point where prefixes are claimed
 * @param rotary turns queries and keys; null: positions are told otherwise
 */
public record CausalAttention(KeyValuePoint point, @Nullable Rotary rotary, Scores scores) {
    /**
     * What becomes of scores.
     *
     * @param scale they are multiplied by it
     * @param window a row sees so many rows, itself the last; 0: all before it
     * @param softcap c of {@code c tanh(score / c)}; 0: none
     * @param dropout of the probabilities, while training
     */
    public record Scores(double scale, long window, double softcap, double dropout) {}

    /**
     * @param q [R, heads, D] of the read rows, not turned yet
     * @param k [T, key heads, D] of all rows, not turned yet; v alike
     * @param rows the read ones, which end with their sequences
     * @return [R, heads, D]
     */
    public Tensor forward(Tensor q, Tensor k, Tensor v, ReadRows rows, ForwardContext context) {
        return Scopes.scoped(() -> {
            Packing read = rows.packing(context);
            KeyValueCache cache = context.cache();
            Ops.Rotated turned = turned(q, k, rows, context);
            if (cache == null) {
                return prompts(turned.q(), turned.k(), v, read, context, null);
            }
            cache.write(point.layer(), turned.k(), v);
            return cache.filled()
                    ? decode(turned.q(), cache.read(point.layer()), context)
                    : prompts(turned.q(), turned.k(), v, read, context, cache);
        });
    }

    private Ops.Rotated turned(Tensor q, Tensor k, ReadRows rows, ForwardContext context) {
        if (rotary == null) {
            return new Ops.Rotated(q, k);
        }
        Packing all = context.packing();
        Packing read = rows.packing(context);
        Tensor positions = context.once(Rotary.class, () -> positions(context, Device.of(q)));
        return read == all
                ? rotary.turn(q, k, positions, all, context)
                : new Ops.Rotated(
                        rotary.turn(q, rows.select(positions, context), read, context),
                        rotary.turn(k, positions, all, context));
    }

    private static Tensor positions(ForwardContext context, Device device) {
        long[] positions = context.positions();
        return Tensors.ofLongs(device, positions, positions.length);
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
                            scores.scale(),
                            scores.window(),
                            scores.softcap(),
                            null,
                            context.training()
                                    ? new Ops.Dropout(scores.dropout(), context.seed(point.path() + "#" + firstRow))
                                    : Ops.Dropout.NONE));
        });
    }

    private Tensor decode(Tensor q, KeyValueCache.Rows rows, ForwardContext context) {
        if (scores.window() == 0 || context.at(point).isEmpty()) {
            return decode(q, rows.packing(), rows.blockTable(), rows, null, scores.window());
        }
        // The cache has a prefix among a sequence's rows, where a window would hide it.
        Claims<PrefixKeyValues> prefixes = context.at(point);
        TensorVector parts = new TensorVector();
        long each = q.size(0) / rows.packing().sequences();
        for (ForwardContext.Segment segment : context.segments()) {
            PrefixKeyValues.KeyValues prefix = prefixes.one(segment, claim -> claim.keyValues(context), null);
            long before = prefix == null ? 0 : prefix.keys().size(0);
            for (int s = segment.first(); s < segment.last(); s++) {
                Packing own = Packing.of(rows.packing().length(s));
                boolean hides = own.rows() - before > scores.window();
                parts.push_back(decode(
                        q.narrow(0, s * each, each),
                        own,
                        rows.blockTable().narrow(0, s, 1),
                        rows,
                        hides ? prefix : null,
                        hides ? scores.window() : 0));
            }
        }
        return torch.cat(parts, 0);
    }

    private Tensor decode(
            Tensor q,
            Packing keys,
            Tensor blockTable,
            KeyValueCache.Rows rows,
            PrefixKeyValues.@Nullable KeyValues prefix,
            long window) {
        ScalarType type = q.scalar_type();
        return Ops.attentionDecode(
                q,
                rows.keys(),
                rows.values(),
                keys.cuSeqlens(),
                keys.longest(),
                blockTable,
                prefix == null ? null : prefix.keys().to(type),
                prefix == null ? null : prefix.values().to(type),
                scores.scale(),
                window,
                scores.softcap());
    }
}
