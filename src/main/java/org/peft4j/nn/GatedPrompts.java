package org.peft4j.nn;

import java.util.function.BiFunction;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.GatedPrompt;
import org.peft4j.nn.seam.KeyValueClaim;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;

/**
 * {@code gate · softmax(q keysᵀ / √D) values} of adapters with a {@link GatedPrompt}.
 *
 * @param prompts keys and values of the adapters' rows
 */
record GatedPrompts(KeyValuePoint point, PromptRows.KeyValues prompts) {
    static @Nullable GatedPrompt of(Claims<KeyValueClaim> claims, ForwardContext.Segment segment) {
        return claims.one(segment, claim -> claim instanceof GatedPrompt prompt ? prompt : null, null);
    }

    /**
     * What attention gives, and what these add to it.
     *
     * @param o [R, heads, D], with what is added before the output projection
     * @param behind [R, heads · D], what is added behind it; null: nothing
     */
    record Added(Tensor o, @Nullable Tensor behind) {}

    /**
     * @param o what attention gives, [R, heads, D]
     * @param q queries, turned, [R, heads, D]
     * @param read how they lie
     */
    Added add(Tensor o, Tensor q, Packing read, ForwardContext context) {
        Claims<KeyValueClaim> claims = context.at(point);
        BiFunction<ForwardContext.Segment, Boolean, @Nullable GatedPrompt> at = (segment, behind) -> {
            GatedPrompt claim = of(claims, segment);
            return claim != null && claim.behindOutput() == behind ? claim : null;
        };
        boolean any = false;
        for (ForwardContext.Segment segment : context.segments()) {
            any |= at.apply(segment, true) != null;
        }
        Tensor before = context.bySegment(o, read, segment -> segment, (segment, part, firstRow) -> {
            GatedPrompt claim = at.apply(segment, false);
            return claim == null ? part : part.add(gated(claim, q, read, segment));
        });
        Tensor behind = !any
                ? null
                : context.bySegment(o, read, segment -> segment, (segment, part, firstRow) -> {
                    GatedPrompt claim = at.apply(segment, true);
                    return (claim == null ? torch.zeros_like(part) : gated(claim, q, read, segment)).flatten(1, 2);
                });
        return new Added(before, behind);
    }

    private Tensor gated(GatedPrompt claim, Tensor q, Packing read, ForwardContext.Segment segment) {
        Packing queries = read.slice(segment.first(), segment.last());
        Tensor rows = q.narrow(0, read.begin(segment.first()), queries.rows());
        PromptRows.KeyValues own = prompts.of(segment);
        Packing none = Packing.of(new int[queries.sequences()]);
        Tensor y = Ops.attention(
                rows,
                own.keys().narrow(0, 0, 0),
                own.values().narrow(0, 0, 0),
                queries.cuSeqlens(),
                none.cuSeqlens(),
                queries.longest(),
                0,
                own.keys(),
                own.values(),
                null,
                new Ops.AttentionSettings(true, 1 / Math.sqrt(point.headSize()), 0, Ops.Dropout.NONE));
        return y.mul(claim.gate().to(y.scalar_type()));
    }
}
