package org.peft4j.train;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.peft4j.host.ByteCount;

/**
 * What a run takes of a card's memory, in bytes, as arithmetic says before anything is computed. Activations are estimated on the
 * high side: what autograd keeps if every layer's output is kept.
 *
 * @param weights the frozen tensors that are not on the card yet
 * @param adapter trained numbers with their gradients, what the optimiser keeps of them, and the copy that products read
 * @param perToken what a token leaves for backward, all blocks together
 * @param perTokenOfBlock what it leaves in one block
 * @param perBlockInput the input of a block, all that is kept where blocks are computed again
 * @param head the logits of some rows and their like, whatever the batch is
 */
record MemoryNeed(long weights, long adapter, long perToken, long perTokenOfBlock, long perBlockInput, long head) {
    /** A number that is trained: itself and its gradient in float32. */
    private static final int BYTES_OF_TRAINED = 2 * Float.BYTES;

    /** The most bytes of logits at a time (native/token_losses.h), and as many for their gradient. */
    static final long HEAD = 2L * (256 << 20);

    /**
     * The sizes of a model, from which its activations follow.
     *
     * @param layers number of blocks
     * @param width of the rows between them
     * @param outputs of all linear layers of a block together
     * @param inner the widest input of a linear layer
     * @param heads query heads
     */
    record Sizes(int layers, long width, long outputs, long inner, long heads) {}

    /**
     * The numbers of an adapter.
     *
     * @param trained those that have a gradient at the same time
     * @param kept what the optimiser keeps of them, float32
     * @param still the others
     */
    record Numbers(long trained, long kept, long still) {
        /** Of no adapter. */
        static final Numbers NONE = new Numbers(0, 0, 0);

        /** @param element bytes of a number of the copy that products read */
        long bytes(int element) {
            return trained * (BYTES_OF_TRAINED + element) + kept * Float.BYTES + still * (Float.BYTES + element);
        }
    }

    /**
     * The need of a run.
     *
     * @param weights bytes of frozen tensors that have to come to the card
     * @param adapter what is trained
     * @param element bytes of a number of the activations
     * @param language whether a language model's loss stands at the end
     */
    static MemoryNeed of(Sizes sizes, long weights, Numbers adapter, int element, boolean language) {
        // outputs; inputs of two norms, and what comes out of them; what the MLP's last layer reads; the log-sum-exp of
        // attention
        long block = element * (sizes.outputs() + 4 * sizes.width() + sizes.inner()) + Float.BYTES * sizes.heads();
        return new MemoryNeed(
                weights,
                adapter.bytes(element),
                block * sizes.layers(),
                block,
                element * sizes.width() * sizes.layers(),
                language ? HEAD : 0);
    }

    /** ByteCount for so many tokens at once. */
    long total(long tokens, boolean recomputed) {
        return fixed() + tokens * ofToken(recomputed);
    }

    private long fixed() {
        return weights + adapter + head;
    }

    private long ofToken(boolean recomputed) {
        // The backward of a block holds gradients of about as much as the block has kept.
        return recomputed ? perBlockInput + 2 * perTokenOfBlock : perToken + perTokenOfBlock;
    }

    /** The most tokens at once for which these bytes are enough; 0 or less: not even one. */
    long tokensIn(long bytes, boolean recomputed) {
        return bytes < fixed() ? 0 : (bytes - fixed()) / ofToken(recomputed);
    }

    /**
     * Why the run does not fit, and what would.
     *
     * @param batch what it wants at once
     * @param free bytes that the card has
     * @param device its name
     * @param narrow the need of the same run in bfloat16; null: it is of 16-bit numbers already
     */
    String refusal(Batch batch, long free, String device, @Nullable MemoryNeed narrow) {
        StringBuilder text = new StringBuilder(String.format(
                Locale.ROOT,
                "the run needs about %s on %s, of which %s are free: weights %s, the adapter with its optimiser %s, a step of %,d"
                        + " tokens %s",
                ByteCount.text(total(batch.tokens(), batch.recomputed())),
                device,
                ByteCount.text(free),
                ByteCount.text(weights),
                ByteCount.text(adapter),
                batch.tokens(),
                ByteCount.text(total(batch.tokens(), batch.recomputed()) - weights - adapter)));
        List<String> ways = wayOut(batch, free);
        if (narrow != null && narrow.total(batch.tokens(), batch.recomputed()) <= free) {
            ways.add("model.dtype bfloat16");
        }
        return text.append(
                        ways.isEmpty()
                                ? "; not even one text fits: try " + (narrow == null ? "" : "model.dtype bfloat16, ")
                                        + "a smaller task.max_length or another card"
                                : "; " + String.join(" or ", ways) + " would fit")
                .toString();
    }

    /**
     * What a run wants at once.
     *
     * @param tokens of its largest micro-batch
     * @param longest tokens of its longest text
     * @param byTokens whether batches are counted in tokens ({@code batch_tokens}), not in rows
     * @param recomputed whether blocks are computed again ({@code checkpointing: block})
     */
    record Batch(long tokens, long longest, boolean byTokens, boolean recomputed) {}

    private List<String> wayOut(Batch batch, long free) {
        List<String> ways = new ArrayList<>();
        String smaller = smaller(batch, tokensIn(free, batch.recomputed()));
        if (!smaller.isEmpty()) {
            ways.add(smaller);
        }
        long recomputed = tokensIn(free, true);
        if (!batch.recomputed() && recomputed >= batch.tokens()) {
            ways.add("training.checkpointing block");
        } else if (!batch.recomputed() && smaller.isEmpty() && recomputed >= batch.longest()) {
            ways.add("training.checkpointing block with " + smaller(batch, recomputed));
        }
        return ways;
    }

    /** The batch that has at most so many tokens; empty: not even the longest text fits. */
    private static String smaller(Batch batch, long tokens) {
        if (tokens < batch.longest()) {
            return "";
        }
        return batch.byTokens() ? "training.batch_tokens " + tokens : "training.batch_size " + tokens / batch.longest();
    }
}
