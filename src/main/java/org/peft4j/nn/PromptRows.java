package org.peft4j.nn;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.GatedPrompt;
import org.peft4j.nn.seam.HiddenPrefix;
import org.peft4j.nn.seam.KeyValueClaim;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;

/**
 * Rows of hidden states of which a block makes keys and values beside those of its sequences.
 *
 * @param rows [R, C]
 * @param packing which of them belong to which sequence; rows of several sequences are the first one's
 */
public record PromptRows(Tensor rows, Packing packing) {
    /** Keys and values made of them, [R, heads, D]. */
    public record KeyValues(Tensor keys, Tensor values, Packing packing) {
        /** Those of a segment, [rows, heads, D]. */
        KeyValues of(ForwardContext.Segment segment) {
            long begin = packing.begin(segment.first());
            long rows = packing.end(segment.last() - 1) - begin;
            return new KeyValues(
                    keys.narrow(0, begin, rows),
                    values.narrow(0, begin, rows),
                    packing.slice(segment.first(), segment.last()));
        }
    }

    /** Makes what a block is of its input, such as one that is normed. */
    public PromptRows with(Tensor made) {
        return new PromptRows(made, packing);
    }

    /**
     * What {@link HiddenPrefix}es make of a block's input; null if none does, or where the cache has it already.
     *
     * @param h what the block reads, [T, C]
     */
    public static @Nullable PromptRows hidden(KeyValuePoint point, Tensor h, ForwardContext context) {
        Claims<KeyValueClaim> claims = context.at(point);
        if (claims.isEmpty() || context.cache() != null && context.cache().filled()) {
            return null;
        }
        return of(h, context, segment -> {
            HiddenPrefix claim = hidden(claims, segment);
            return claim == null || claim.throughTheBlock() && context.promptsInside() ? null : claim;
        });
    }

    private static @Nullable HiddenPrefix hidden(Claims<KeyValueClaim> claims, ForwardContext.Segment segment) {
        return claims.one(segment, claim -> claim instanceof HiddenPrefix prefix ? prefix : null, null);
    }

    /** What a segment's claim is, or null. */
    @FunctionalInterface
    private interface ClaimOf {
        @Nullable
        HiddenPrefix of(ForwardContext.Segment segment);
    }

    private static @Nullable PromptRows of(Tensor h, ForwardContext context, ClaimOf claims) {
        Packing all = context.packing();
        int[] counts = new int[all.sequences()];
        TensorVector parts = new TensorVector();
        for (ForwardContext.Segment segment : context.segments()) {
            HiddenPrefix claim = segment.first() == segment.last() ? null : claims.of(segment);
            if (claim != null) {
                long begin = all.begin(segment.first());
                Packing own = all.slice(segment.first(), segment.last());
                Tensor rows = claim.rows(
                        h.narrow(0, begin, own.rows()),
                        own,
                        context.instruction().narrow(0, begin, own.rows()));
                parts.push_back(rows.flatten(0, 1));
                Arrays.fill(counts, segment.first(), segment.last(), claim.count());
            }
        }
        return parts.empty() ? null : new PromptRows(torch.cat(parts, 0), Packing.beforeTexts(counts));
    }

    /**
     * The rows of {@link GatedPrompt}s, each once for all sequences that have it; null if there are none.
     *
     * @param x of the activations' type
     */
    public static @Nullable PromptRows gated(KeyValuePoint point, Tensor x, ForwardContext context) {
        Claims<KeyValueClaim> claims = context.at(point);
        if (claims.isEmpty()) {
            return null;
        }
        int[] counts = new int[context.packing().sequences()];
        TensorVector parts = new TensorVector();
        for (ForwardContext.Segment segment : context.segments()) {
            GatedPrompt claim = GatedPrompts.of(claims, segment);
            if (claim != null && segment.first() < segment.last()) {
                Tensor rows = claim.rows().to(x.scalar_type());
                counts[segment.first()] = Math.toIntExact(rows.size(0));
                parts.push_back(rows);
            }
        }
        return parts.empty() ? null : new PromptRows(torch.cat(parts, 0), Packing.beforeTexts(counts));
    }

    /** A block's forward. */
    @FunctionalInterface
    public interface Forward {
        /** See {@link Block#forward}. */
        Tensor forward(Tensor h, ReadRows rows, ForwardContext context);
    }

    /**
     * Takes a block's input through it with the rows in front that go through it ({@link HiddenPrefix#throughTheBlock}), and throws
     * away what comes out of them; null if there are none, or there is a cache.
     */
    public static @Nullable Tensor throughTheBlock(
            KeyValuePoint point, Tensor h, ReadRows rows, ForwardContext context, Forward block) {
        Claims<KeyValueClaim> claims = context.at(point);
        if (claims.isEmpty() || context.promptsInside() || context.cache() != null) {
            return null;
        }
        boolean some = context.segments().stream().anyMatch(segment -> {
            HiddenPrefix claim = hidden(claims, segment);
            return claim != null && claim.throughTheBlock();
        });
        if (!some) {
            return null;
        }
        return Scopes.scoped(() -> {
            PromptRows prompts = of(h, context, segment -> {
                HiddenPrefix claim = hidden(claims, segment);
                return claim != null && claim.throughTheBlock() ? claim : null;
            });
            return prompts == null
                    ? block.forward(
                            h,
                            rows,
                            context.withPromptsInside(new int[context.packing().sequences()]))
                    : prompts.inFront(h, rows, context, block);
        });
    }

    private Tensor inFront(Tensor h, ReadRows read, ForwardContext context, Forward block) {
        Packing all = context.packing();
        int[] counts = new int[all.sequences()];
        TensorVector joined = new TensorVector();
        for (int s = 0; s < counts.length; s++) {
            counts[s] = packing.length(s);
            joined.push_back(rows.narrow(0, packing.begin(s), counts[s]));
            joined.push_back(h.narrow(0, all.begin(s), all.length(s)));
        }
        ForwardContext inside = context.withPromptsInside(counts);
        Tensor out = block.forward(torch.cat(joined, 0), ReadRows.ALL, inside);
        TensorVector kept = new TensorVector();
        for (int s = 0; s < counts.length; s++) {
            kept.push_back(out.narrow(0, inside.packing().begin(s) + counts[s], all.length(s)));
        }
        return read.select(torch.cat(kept, 0), context);
    }
}
