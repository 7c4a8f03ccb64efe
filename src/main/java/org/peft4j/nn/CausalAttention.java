package org.peft4j.nn;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.HiddenPrefix;
import org.peft4j.nn.seam.KeyValueCache;
import org.peft4j.nn.seam.KeyValueClaim;
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
     * What prompts are made of: keys and values, not turned yet, null where there are none; and what attention reads.
     *
     * @param read normed rows of all sequences, [T, C]
     * @param hidden of {@link PromptRows#hidden}
     * @param gated of {@link PromptRows#gated}
     */
    public record Prompts(Tensor read, PromptRows.@Nullable KeyValues hidden, PromptRows.@Nullable KeyValues gated) {}

    /**
     * What attention gives.
     *
     * @param o [R, heads, D]
     * @param behindOutput [R, heads · D], to be added behind the output projection; null: nothing
     */
    public record Attended(Tensor o, @Nullable Tensor behindOutput) {}

    /**
     * @param q [R, heads, D] of the read rows, not turned yet
     * @param k [T, key heads, D] of all rows, not turned yet; v alike
     * @param rows the read ones, which end with their sequences
     */
    public Attended forward(Tensor q, Tensor k, Tensor v, Prompts prompts, ReadRows rows, ForwardContext context) {
        Packing read = rows.packing(context);
        Ops.Rotated turned = turned(q, k, rows, context);
        Tensor o = Scopes.scoped(() -> {
            KeyValueCache cache = context.cache();
            Prefixes prefixes = new Prefixes(point, prompts.read(), turned(prompts.hidden(), context));
            if (cache == null) {
                return sequences(turned.q(), turned.k(), v, prefixes, read, context, null);
            }
            cache.write(point.layer(), turned.k(), v);
            return cache.filled()
                    ? decode(turned.q(), cache.read(point.layer()), prefixes, context)
                    : sequences(turned.q(), turned.k(), v, prefixes, read, context, cache);
        });
        if (prompts.gated() == null) {
            return new Attended(o, null);
        }
        GatedPrompts.Added added = new GatedPrompts(point, prompts.gated()).add(o, turned.q(), read, context);
        return new Attended(added.o(), added.behind());
    }

    private PromptRows.@Nullable KeyValues turned(PromptRows.@Nullable KeyValues prompts, ForwardContext context) {
        Claims<KeyValueClaim> claims = context.at(point);
        if (prompts == null || rotary == null) {
            return prompts;
        }
        Packing packing = prompts.packing();
        long[] places = new long[Math.toIntExact(packing.rows())];
        for (int s = 0; s < packing.sequences(); s++) {
            for (int i = 0; i < packing.length(s); i++) {
                places[(int) packing.begin(s) + i] = i;
            }
        }
        Tensor positions = Tensors.ofLongs(Device.of(prompts.keys()), places, places.length);
        Tensor turned = rotary.turn(prompts.keys(), positions, packing, context);
        Tensor keys = context.bySegment(turned, packing, claims::of, (segment, part, firstRow) -> {
            boolean turns =
                    claims.one(segment, claim -> claim instanceof HiddenPrefix prefix && prefix.turned(), false);
            return turns ? part : prompts.keys().narrow(0, firstRow, part.size(0));
        });
        return new PromptRows.KeyValues(keys, prompts.values(), packing);
    }

    private Ops.Rotated turned(Tensor q, Tensor k, ReadRows rows, ForwardContext context) {
        if (rotary == null) {
            return new Ops.Rotated(q, k);
        }
        Packing all = context.packing();
        Packing read = rows.packing(context);
        Tensor positions = context.once(List.of(Rotary.class, all), () -> positions(context, Device.of(q)));
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
    private Tensor sequences(
            Tensor q,
            Tensor k,
            Tensor v,
            Prefixes prefixes,
            Packing read,
            ForwardContext context,
            @Nullable KeyValueCache cache) {
        Packing all = context.packing();
        return context.bySegment(q, read, context.at(point)::of, (segment, part, firstRow) -> {
            boolean whole = segment.first() == 0 && segment.last() == all.sequences();
            Packing keys = whole ? all : all.slice(segment.first(), segment.last());
            Packing queries = whole ? read : read.slice(segment.first(), segment.last());
            long begin = all.begin(segment.first());
            ScalarType type = q.scalar_type();
            PrefixKeyValues.KeyValues prefix = prefixes.of(segment, context);
            Tensor prefixKeys = prefix == null ? null : prefix.keys().to(type);
            Tensor prefixValues = prefix == null ? null : prefix.values().to(type);
            if (cache != null
                    && prefixKeys != null
                    && prefixValues != null
                    && context.at(point).one(segment, KeyValueClaim::cached, false)) {
                boolean each = prefixKeys.dim() == 4;
                for (int s = segment.first(); s < segment.last(); s++) {
                    long own = s - segment.first();
                    cache.writePrefix(
                            point.layer(),
                            s,
                            each ? prefixKeys.select(0, own) : prefixKeys,
                            each ? prefixValues.select(0, own) : prefixValues);
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

    private Tensor decode(Tensor q, KeyValueCache.Rows rows, Prefixes prefixes, ForwardContext context) {
        Claims<KeyValueClaim> claims = context.at(point);
        if (context.segments().stream()
                .allMatch(segment -> count(claims, segment) == 0 || scores.window() == 0 && cached(claims, segment))) {
            return decode(q, rows.packing(), rows.blockTable(), rows, null, scores.window());
        }
        TensorVector parts = new TensorVector();
        long each = q.size(0) / rows.packing().sequences();
        for (ForwardContext.Segment segment : context.segments()) {
            if (segment.first() == segment.last()) {
                continue;
            }
            int before = count(claims, segment);
            if (before == 0 || scores.window() == 0 || !cached(claims, segment)) {
                long sequences = (long) segment.last() - segment.first();
                parts.push_back(decode(
                        q.narrow(0, segment.first() * each, sequences * each),
                        rows.packing().slice(segment.first(), segment.last()),
                        rows.blockTable().narrow(0, segment.first(), sequences),
                        rows,
                        cached(claims, segment) ? null : prefixes.of(segment, context),
                        scores.window()));
                continue;
            }
            // The cache has a prefix among a sequence's rows, where a window would hide it.
            for (int s = segment.first(); s < segment.last(); s++) {
                Packing own = Packing.of(rows.packing().length(s));
                boolean hides = before > 0 && own.rows() - before > scores.window();
                boolean sees = before > 0 && !hides;
                parts.push_back(decode(
                        q.narrow(0, s * each, each),
                        own,
                        rows.blockTable().narrow(0, s, 1),
                        rows,
                        hides ? first(rows, s, before) : null,
                        sees ? 0 : scores.window()));
            }
        }
        return torch.cat(parts, 0);
    }

    private static int count(Claims<KeyValueClaim> claims, ForwardContext.Segment segment) {
        return claims.one(segment, KeyValueClaim::count, 0);
    }

    private static boolean cached(Claims<KeyValueClaim> claims, ForwardContext.Segment segment) {
        return claims.one(segment, KeyValueClaim::cached, true);
    }

    /** The first n rows of a sequence in the cache. */
    private static PrefixKeyValues.KeyValues first(KeyValueCache.Rows rows, int sequence, int n) {
        long block = rows.keys().size(1);
        long[] blockOf = new long[n];
        long[] within = new long[n];
        for (int i = 0; i < n; i++) {
            blockOf[i] = i / block;
            within[i] = i % block;
        }
        Device device = Device.of(rows.keys());
        Tensor slots = rows.blockTable()
                .select(0, sequence)
                .to(ScalarType.Long)
                .index_select(0, Tensors.ofLongs(device, blockOf, n))
                .mul(new Scalar(block))
                .add(Tensors.ofLongs(device, within, n));
        return new PrefixKeyValues.KeyValues(
                rows.keys().flatten(0, 1).index_select(0, slots),
                rows.values().flatten(0, 1).index_select(0, slots));
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
