package org.peft4j.method.bottleneck;

/**
 * How a bottleneck behind a sublayer stands to the frozen norm there and to what goes around the sublayer. With h what the sublayer
 * gives, x what goes around it and {@code norm(h + x)} what the block makes of them:
 *
 * <pre>
 * reads r      original_ln_before: norm(h + x); else h
 * y            bottleneck(r) + residual
 * the block    original_ln_after: norm(y + x); else y
 * </pre>
 *
 * <p>Where a block's norms stand before its sublayers, {@code norm(h + x)} is {@code h + x} everywhere here, as in AdapterHub's
 * library. With both norms a residual other than h adds x twice; so do the library's adapters.
 *
 * @param originalLnBefore whether it reads normed rows
 * @param originalLnAfter whether the block adds x and norms once more
 * @param residualBeforeLn what the residual is
 */
public record OriginalNorms(boolean originalLnBefore, boolean originalLnAfter, Residual residualBeforeLn) {
    /** What goes around the bottleneck. */
    public enum Residual {
        /** h, in files {@code true}. */
        OUTPUT("true"),
        /** r, in files {@code false}. */
        INPUT("false"),
        /** h + x, in files {@code post_add}. */
        POST_ADD("post_add");

        private final String fileName;

        Residual(String fileName) {
            this.fileName = fileName;
        }

        /** As files have it. */
        public String fileName() {
            return fileName;
        }
    }

    /** Reads {@code norm(h + x)}, is added to h, and the block norms again: {@code seq_bn}. */
    public static final OriginalNorms BOTH = new OriginalNorms(true, true, Residual.OUTPUT);

    /** Reads h, is added to it, and the block norms: {@code double_seq_bn}. */
    public static final OriginalNorms AFTER = new OriginalNorms(false, true, Residual.OUTPUT);

    /** Reads {@code norm(h + x)} and is added to it: {@code adapter_plus}. */
    public static final OriginalNorms BEFORE = new OriginalNorms(true, false, Residual.INPUT);

    public OriginalNorms {
        if (!originalLnBefore && !originalLnAfter) {
            throw new IllegalArgumentException("original_ln_before and original_ln_after must not both be false:"
                    + " what goes around the sublayer would be lost");
        }
        if (!originalLnAfter && residualBeforeLn != Residual.INPUT) {
            throw new IllegalArgumentException("residual_before_ln must be false where original_ln_after is, got "
                    + residualBeforeLn.fileName() + ": what goes around the sublayer would be lost, or not normed");
        }
        if (!originalLnBefore && residualBeforeLn == Residual.POST_ADD) {
            throw new IllegalArgumentException(
                    "residual_before_ln must be true or false where original_ln_before is false, got post_add");
        }
    }
}
