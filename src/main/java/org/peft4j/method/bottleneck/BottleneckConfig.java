package org.peft4j.method.bottleneck;

import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.InitRational;
import org.peft4j.method.MethodConfig;

/**
 * Settings of bottleneck adapters: behind sublayers of each block, or beside them, stands a small network
 * {@code u = s (W_up act(W_down r + c_down) + c_up)}. What it reads (r) and what it is added to, {@link OriginalNorms} says; with
 * {@code parallel} it reads what goes around the sublayer, and is added to what the sublayer gives. Settings and named configurations
 * ({@link #seqBn} and those behind it) are those of AdapterHub's library.
 *
 * @param mhAdapter whether there is one at each block's attention
 * @param outputAdapter whether there is one at each block's MLP
 * @param reductionFactor width of a row through that of the bottleneck
 * @param leaveOut numbers of the layers that have none
 * @param activation between the two layers
 * @param rationalInit what {@link Activation#RATIONAL} is at the start; only with it another than one
 * @param init how the two layers begin; with phm they begin as Compacter's
 * @param parallel whether it stands beside the sublayer
 * @param scaling s
 * @param norms how it stands to the block's own norm
 * @param phm both layers as Compacter has them; null: plain linear layers
 * @param prefix a prefix beside them; null: none
 * @param lora LoRA beside them; null: none
 * @param gate whether u, the keys and values of the prefix, and what LoRA adds are multiplied with gates, numbers between 0 and 1 of each
 *     text: means over its rows of {@code σ(w x + c)}, where x is what the part reads
 * @param stochasticDepth probability of leaving a text's u away as a whole, while training, 0 to below 1; what is left is divided by
 *     1 minus it
 * @param invertible an invertible adapter behind the embeddings, or none
 * @param dropout probability of dropping an element of u, while training, 0 to below 1
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/1902.00751">Parameter-Efficient Transfer Learning for NLP (double_seq_bn)</a>
 * @see <a href="https://arxiv.org/abs/2005.00247">AdapterFusion: Non-Destructive Task Composition for Transfer Learning (seq_bn)</a>
 * @see <a href="https://arxiv.org/abs/2110.04366">Towards a Unified View of Parameter-Efficient Transfer Learning (par_bn, mam)</a>
 * @see <a href="https://arxiv.org/abs/2110.07577">UniPELT: A Unified Framework for Parameter-Efficient Language Model Tuning</a>
 * @see <a href="https://arxiv.org/abs/2406.06820">Adapters Strike Back (adapter_plus)</a>
 * @see <a href="https://arxiv.org/abs/2005.00052">MAD-X (seq_bn_inv)</a>
 * @see <a href="https://arxiv.org/abs/2205.01549">Adaptable Adapters (the rational activation)</a>
 */
public record BottleneckConfig(
        boolean mhAdapter,
        boolean outputAdapter,
        ReductionFactor reductionFactor,
        List<Integer> leaveOut,
        Activation activation,
        InitRational rationalInit,
        InitBottleneck init,
        boolean parallel,
        Scaling scaling,
        OriginalNorms norms,
        @Nullable PhmConfig phm,
        @Nullable BottleneckPrefix prefix,
        @Nullable BottleneckLora lora,
        boolean gate,
        InvertibleAdapter invertible,
        double dropout,
        double stochasticDepth,
        List<String> modulesToSave)
        implements MethodConfig {
    /** Functions between the two layers. */
    public enum Activation {
        /** max(0, x). */
        RELU,
        /** x Φ(x), with the error function. */
        GELU,
        /** x times its sigmoid, as SiLU. */
        SWISH,
        /** The hyperbolic tangent. */
        TANH,
        /**
         * A rational function of degrees 5 and 4 (version A) with coefficients of its own in each bottleneck, which are trained in the
         * group {@code activation}. The paper's switches, which leave layers out, are not there: leaveOut does it by hand.
         */
        RATIONAL
    }

    public BottleneckConfig {
        if (!mhAdapter && !outputAdapter) {
            throw new IllegalArgumentException("mhAdapter and outputAdapter must not both be false");
        }
        Objects.requireNonNull(reductionFactor, "reductionFactor");
        leaveOut = leaveOut.stream().distinct().sorted().toList();
        if (!leaveOut.isEmpty() && leaveOut.get(0) < 0) {
            throw new IllegalArgumentException("leaveOut must have numbers of layers from 0, got " + leaveOut.get(0));
        }
        for (int layer : leaveOut) {
            if (reductionFactor.byLayer().containsKey(layer)) {
                throw new IllegalArgumentException(
                        "reductionFactor must not name layer " + layer + ", which leaveOut has, too");
            }
        }
        Objects.requireNonNull(activation, "activation");
        if (activation != Activation.RATIONAL && rationalInit != InitRational.ONE) {
            throw new IllegalArgumentException("rationalInit has no meaning for other activations than rational, got "
                    + word(rationalInit) + " beside " + word(activation));
        }
        Objects.requireNonNull(scaling, "scaling");
        Objects.requireNonNull(invertible, "invertible");
        if (parallel && !norms.equals(OriginalNorms.AFTER)) {
            throw new IllegalArgumentException("parallel needs original_ln_before: false, original_ln_after: true and"
                    + " residual_before_ln: true: it reads what goes around the sublayer, and no norm (config: par_bn has"
                    + " all of them)");
        }
        if (phm != null && init != InitBottleneck.BERT) {
            throw new IllegalArgumentException("init has no meaning with phm, got " + word(init) + "; leave it out");
        }
        if (phm != null && phm.weights().sharedW() && !reductionFactor.byLayer().isEmpty()) {
            throw new IllegalArgumentException(
                    "reductionFactor must be the same in all layers where phm has shared_w, got " + reductionFactor);
        }
        if (!(dropout >= 0 && dropout < 1)) { // also refuses NaN
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        if (!(stochasticDepth >= 0 && stochasticDepth < 1)) {
            throw new IllegalArgumentException("stochasticDepth must be in [0, 1), got " + stochasticDepth);
        }
        if (!gate && prefix != null && !prefix.sharedGate()) {
            throw new IllegalArgumentException("prefix must not have shared_gate: false without gate");
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** {@link #seqBn} of another size and activation. */
    public BottleneckConfig(int reductionFactor, Activation activation, double dropout, List<String> modulesToSave) {
        this(
                false,
                true,
                ReductionFactor.of(reductionFactor),
                List.of(),
                activation,
                InitRational.ONE,
                InitBottleneck.BERT,
                false,
                Scaling.of(1),
                OriginalNorms.BOTH,
                null,
                null,
                null,
                false,
                InvertibleAdapter.NONE,
                dropout,
                0,
                modulesToSave);
    }

    private static String word(Enum<?> value) {
        return value.name().toLowerCase(java.util.Locale.ROOT);
    }

    /** {@link #seqBn}. */
    public static BottleneckConfig defaults() {
        return seqBn();
    }

    /** One behind each MLP, a sixteenth of the width, ReLU (Pfeiffer et al. 2020). */
    public static BottleneckConfig seqBn() {
        return new BottleneckConfig(16, Activation.RELU, 0, List.of());
    }

    /** One behind each attention and each MLP, a sixteenth of the width, swish (Houlsby et al. 2019). */
    public static BottleneckConfig doubleSeqBn() {
        return builder()
                .mhAdapter(true)
                .activation(Activation.SWISH)
                .norms(OriginalNorms.AFTER)
                .build();
    }

    /** {@link #seqBn} and an invertible adapter: language adapters of MAD-X (Pfeiffer et al. 2020). */
    public static BottleneckConfig seqBnInv() {
        return seqBn().toBuilder().invertible(InvertibleAdapter.NICE).build();
    }

    /** {@link #doubleSeqBn} and an invertible adapter. */
    public static BottleneckConfig doubleSeqBnInv() {
        return doubleSeqBn().toBuilder().invertible(InvertibleAdapter.NICE).build();
    }

    /** One beside each MLP, half of the width, ReLU, times 4; no change at the start (He et al. 2021). */
    public static BottleneckConfig parBn() {
        return builder()
                .reductionFactor(ReductionFactor.of(2))
                .init(InitBottleneck.MAM_ADAPTER)
                .parallel(true)
                .scaling(Scaling.of(4))
                .norms(OriginalNorms.AFTER)
                .build();
    }

    /** {@link #parBn} with a scaling that is learned. */
    public static BottleneckConfig scaledParBn() {
        return parBn().toBuilder().scaling(Scaling.LEARNED).build();
    }

    /** {@link #doubleSeqBn} with sums of Kronecker products, GELU, a thirty-second of the width (Karimi Mahabadi et al. 2021). */
    public static BottleneckConfig compacter() {
        return phm(doubleSeqBn());
    }

    /** {@link #seqBn} with sums of Kronecker products, GELU, a thirty-second of the width: {@code compacter++}. */
    public static BottleneckConfig compacterPlusPlus() {
        return phm(seqBn());
    }

    private static BottleneckConfig phm(BottleneckConfig config) {
        return config.toBuilder()
                .reductionFactor(ReductionFactor.of(32))
                .activation(Activation.GELU)
                .phm(PhmConfig.defaults())
                .build();
    }

    /** {@link #parBn} and a prefix: mix-and-match adapters (He et al. 2021). */
    public static BottleneckConfig mam() {
        return parBn().toBuilder().prefix(BottleneckPrefix.defaults()).build();
    }

    /** {@link #seqBn}, a prefix and LoRA, each with gates (Mao et al. 2021). */
    public static BottleneckConfig unipelt() {
        return seqBn().toBuilder()
                .prefix(new BottleneckPrefix(10, 512))
                .lora(BottleneckLora.defaults())
                .gate(true)
                .build();
    }

    /** One behind each MLP and its norm, a ninety-sixth of the width, GELU, a scale for each element (Steitz and Roth 2024). */
    public static BottleneckConfig adapterPlus() {
        return builder()
                .reductionFactor(ReductionFactor.of(96))
                .activation(Activation.GELU)
                .init(InitBottleneck.HOULSBY)
                .scaling(Scaling.CHANNEL)
                .norms(OriginalNorms.BEFORE)
                .stochasticDepth(0.1)
                .build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return seqBn().toBuilder();
    }

    /** A builder that begins with these settings. */
    public Builder toBuilder() {
        return new Builder(this);
    }

    @Override
    public BottleneckConfig withModulesToSave(List<String> modules) {
        return toBuilder().modulesToSave(modules).build();
    }

    /** Collects settings. */
    public static final class Builder {
        private boolean mhAdapter;
        private boolean outputAdapter;
        private ReductionFactor reductionFactor;
        private List<Integer> leaveOut;
        private Activation activation;
        private InitRational rationalInit;
        private InitBottleneck init;
        private boolean parallel;
        private Scaling scaling;
        private OriginalNorms norms;
        private @Nullable PhmConfig phm;
        private @Nullable BottleneckPrefix prefix;
        private @Nullable BottleneckLora lora;
        private boolean gate;
        private InvertibleAdapter invertible;
        private double dropout;
        private double stochasticDepth;
        private List<String> modulesToSave;

        private Builder(BottleneckConfig config) {
            mhAdapter = config.mhAdapter;
            outputAdapter = config.outputAdapter;
            reductionFactor = config.reductionFactor;
            leaveOut = config.leaveOut;
            activation = config.activation;
            rationalInit = config.rationalInit;
            init = config.init;
            parallel = config.parallel;
            scaling = config.scaling;
            norms = config.norms;
            phm = config.phm;
            prefix = config.prefix;
            lora = config.lora;
            gate = config.gate;
            invertible = config.invertible;
            dropout = config.dropout;
            stochasticDepth = config.stochasticDepth;
            modulesToSave = config.modulesToSave;
        }

        public Builder mhAdapter(boolean value) {
            mhAdapter = value;
            return this;
        }

        public Builder outputAdapter(boolean value) {
            outputAdapter = value;
            return this;
        }

        public Builder reductionFactor(ReductionFactor value) {
            reductionFactor = value;
            return this;
        }

        public Builder leaveOut(List<Integer> value) {
            leaveOut = value;
            return this;
        }

        public Builder activation(Activation value) {
            activation = value;
            return this;
        }

        public Builder rationalInit(InitRational value) {
            rationalInit = value;
            return this;
        }

        public Builder init(InitBottleneck value) {
            init = value;
            return this;
        }

        public Builder parallel(boolean value) {
            parallel = value;
            return this;
        }

        public Builder scaling(Scaling value) {
            scaling = value;
            return this;
        }

        public Builder norms(OriginalNorms value) {
            norms = value;
            return this;
        }

        public Builder phm(@Nullable PhmConfig value) {
            phm = value;
            return this;
        }

        public Builder prefix(@Nullable BottleneckPrefix value) {
            prefix = value;
            return this;
        }

        public Builder lora(@Nullable BottleneckLora value) {
            lora = value;
            return this;
        }

        public Builder gate(boolean value) {
            gate = value;
            return this;
        }

        public Builder invertible(InvertibleAdapter value) {
            invertible = value;
            return this;
        }

        public Builder dropout(double value) {
            dropout = value;
            return this;
        }

        public Builder stochasticDepth(double value) {
            stochasticDepth = value;
            return this;
        }

        public Builder modulesToSave(List<String> value) {
            modulesToSave = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public BottleneckConfig build() {
            return new BottleneckConfig(
                    mhAdapter,
                    outputAdapter,
                    reductionFactor,
                    leaveOut,
                    activation,
                    rationalInit,
                    init,
                    parallel,
                    scaling,
                    norms,
                    phm,
                    prefix,
                    lora,
                    gate,
                    invertible,
                    dropout,
                    stochasticDepth,
                    modulesToSave);
        }
    }
}
