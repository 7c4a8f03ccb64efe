package org.peft4j.ops;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleArrayRef;
import org.bytedeco.pytorch.LongArrayRef;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.jspecify.annotations.Nullable;

/**
 * The native operations, with Java's types and exceptions. Safe from many threads.
 *
 * <p>The implementation of an operation is chosen by {@code -Dpeft4j.kernels=auto|own|library|reference}, or for one by
 * {@code -Dpeft4j.kernels=attention=reference,gelu=library}; see {@link #kernels()}.
 */
public final class Ops {
    static {
        NativeLibrary.load();
        String kernels = System.getProperty("peft4j.kernels");
        if (kernels != null && !kernels.isBlank()) {
            setKernels(kernels);
        }
        String deterministic = System.getProperty("peft4j.deterministic", "true");
        if (!deterministic.equals("true") && !deterministic.equals("false")) {
            throw new IllegalArgumentException(
                    "peft4j.deterministic must be true or false, got '" + deterministic + "'");
        }
        setDeterministic(deterministic.equals("true"));
    }

    private static final long IGNORED = -100; // the label of a row that is left out

    private Ops() {}

    /**
     * Rows [begin, end) of x, and of what one layer of a linear group makes of it.
     *
     * @param part the layer of the group, from 0
     */
    public record PartRows(int part, long begin, long end) {}

    /**
     * One low-rank update of {@link #loraLinear}: made of these rows of x, added to the same rows of one part.
     *
     * @param a [r, in], float32
     * @param b [out, r], float32
     */
    public record LowRankUpdate(PartRows rows, Tensor a, Tensor b, double scale, double dropout) {}

    /** Updates as the native operations take them. */
    private static final class Updates {
        private final TensorVector a = new TensorVector(), b = new TensorVector();
        private final long[] place;
        private final double[] scale, dropout;

        private Updates(List<LowRankUpdate> updates) {
            int n = updates.size();
            place = new long[3 * n];
            scale = new double[n];
            dropout = new double[n];
            for (int j = 0; j < n; j++) {
                LowRankUpdate update = updates.get(j);
                a.push_back(update.a());
                b.push_back(update.b());
                place[3 * j] = update.rows().part();
                place[3 * j + 1] = update.rows().begin();
                place[3 * j + 2] = update.rows().end();
                scale[j] = update.scale();
                dropout[j] = update.dropout();
            }
        }
    }

    /** One line of {@link #kernels()}. */
    public record Kernel(String operation, String provider, String reason) {}

    /**
     * {@code y_i = x W_iᵀ + bias_i + Σ scale (dropout(x) Aᵀ) Bᵀ} for every layer i of a linear group.
     *
     * @param x [T, in]
     * @param bias of all layers, [sum of out_i], or null
     * @return one [T, out_i] for each layer, views of one tensor
     */
    public static Tensor[] loraLinear(
            Tensor x, Weight weight, @Nullable Tensor bias, List<LowRankUpdate> updates, long seed) {
        return checked(() -> {
            Updates all = new Updates(updates);
            TensorVector results = PeftNative.lora_linear(
                    x,
                    weight.handle(),
                    orUndefined(bias),
                    all.a,
                    all.b,
                    longs(all.place),
                    doubles(all.scale),
                    doubles(all.dropout),
                    seed);
            Tensor[] parts = new Tensor[(int) results.size()];
            for (int i = 0; i < parts.length; i++) {
                parts[i] = new Tensor(results.get(i)); // get() points into the vector, which dies with this scope
            }
            return parts;
        });
    }

    /**
     * T5's relative position bias: {@code table[bucket, head]} is added to the score of a key, where the bucket follows from
     * the key's position less the query's (the last query stands at the last key). A prefix gets none.
     *
     * @param table [buckets, heads], float32 (float64 if q is); gets a gradient if it requires one
     * @param bidirectional half of the buckets is for keys behind the query; false: all are for keys up to it
     * @param maxDistance 1 to 512; keys at least so far away share the last bucket
     * @see <a href="https://arxiv.org/abs/1910.10683">Exploring the Limits of Transfer Learning</a>, section 2.1
     */
    public record RelativeBias(Tensor table, boolean bidirectional, long maxDistance) {}

    /**
     * Elements are dropped with this probability, the others scaled.
     *
     * @param probability 0 to below 1
     * @param seed of the mask
     */
    public record Dropout(double probability, long seed) {
        public static final Dropout NONE = new Dropout(0, 0);
    }

    /**
     * What {@link #attention} needs beside queries, keys and values.
     *
     * @param causal the last query sees the last key, the one before it all but one, and so on
     * @param window a row sees keys nearer than this, if causal only those before it; 0: all
     * @param softcap scores become {@code softcap tanh(score / softcap)}, the prefix's too; 0: no cap
     * @param bias added to the scores behind the cap, or null
     * @param dropout of the probabilities
     */
    public record AttentionSettings(
            boolean causal,
            double scale,
            long window,
            double softcap,
            @Nullable RelativeBias bias,
            Dropout dropout) {
        /** Without soft-cap and bias. */
        public AttentionSettings(boolean causal, double scale, long window, Dropout dropout) {
            this(causal, scale, window, 0, null, dropout);
        }
    }

    /**
     * Packed attention.
     *
     * @param q [Tq, heads, D]
     * @param k [Tk, key heads, D], v alike
     * @param cuSeqlensQ int64 [S + 1] on the CPU
     * @param prefixK [P, key heads, D] shared by all sequences, [S, P, key heads, D], or null
     * @param gate one number, multiplies a separate softmax over the prefix; null: one softmax over both
     * @return [Tq, heads, D]
     * @throws IllegalArgumentException if a shape, type or setting does not fit; the message names it
     */
    public static Tensor attention(
            Tensor q,
            Tensor k,
            Tensor v,
            Tensor cuSeqlensQ,
            Tensor cuSeqlensK,
            long maxQ,
            long maxK,
            @Nullable Tensor prefixK,
            @Nullable Tensor prefixV,
            @Nullable Tensor gate,
            AttentionSettings settings) {
        RelativeBias bias = settings.bias();
        return checked(() -> PeftNative.attention(
                q,
                k,
                v,
                cuSeqlensQ,
                cuSeqlensK,
                maxQ,
                maxK,
                orUndefined(prefixK),
                orUndefined(prefixV),
                orUndefined(gate),
                settings.causal(),
                settings.scale(),
                settings.window(),
                settings.softcap(),
                orUndefined(bias == null ? null : bias.table()),
                bias != null && bias.bidirectional(),
                bias == null ? 0 : bias.maxDistance(),
                settings.dropout().probability(),
                settings.dropout().seed()));
    }

    /**
     * Attention of the newest rows of each sequence against a cache that holds their keys already; no gradient.
     *
     * @param q [S n, heads, D], n rows for each of S sequences; a row sees the keys up to its own
     * @param k [Tk, key heads, D], or with a blockTable a pool of blocks [blocks, block size, key heads, D]; v alike
     * @param cuSeqlensK int64 [S + 1] on the CPU, the sums of the numbers of keys
     * @param maxK the most keys of a sequence
     * @param blockTable int32 [S, blocks], the blocks of each sequence, on q's device; null: k and v are packed
     * @param prefixK [P, key heads, D] shared by all sequences, [S, P, key heads, D], or null
     * @param window a row sees so many of its last keys; 0: all
     * @param softcap scores become {@code softcap tanh(score / softcap)}; 0: no cap
     * @return [S n, heads, D]
     */
    public static Tensor attentionDecode(
            Tensor q,
            Tensor k,
            Tensor v,
            Tensor cuSeqlensK,
            long maxK,
            @Nullable Tensor blockTable,
            @Nullable Tensor prefixK,
            @Nullable Tensor prefixV,
            double scale,
            long window,
            double softcap) {
        return checked(() -> PeftNative.attention_decode(
                q,
                k,
                v,
                cuSeqlensK,
                maxK,
                orUndefined(blockTable),
                orUndefined(prefixK),
                orUndefined(prefixV),
                scale,
                window,
                softcap));
    }

    /** {@code norm(dropout(x) + residual) weight + bias}; x and residual [T, C]. */
    public static Tensor layerNorm(
            Tensor x, @Nullable Tensor residual, Tensor weight, Tensor bias, double eps, double dropout, long seed) {
        return checked(() -> PeftNative.layer_norm(x, orUndefined(residual), weight, bias, eps, dropout, seed));
    }

    /** Results of {@link #rmsNorm}: the normed rows and the residual stream, both [T, C]. */
    public record Normed(Tensor y, Tensor z) {}

    /**
     * {@code y = z rstd (weight + weightOffset)} with {@code z = dropout(x) + residual} and
     * {@code rstd = 1 / sqrt(mean(z²) + eps)} over the rows. z is the residual stream of a pre-norm block: hand it on as the
     * next residual, and its gradient joins in the same backward pass. Without residual and dropout z is x.
     *
     * @param x [T, C]
     * @param residual [T, C], or null
     * @param weight [C], of x's type
     * @param weightOffset 0, or 1 where files hold weight - 1 (Gemma)
     * @throws IllegalArgumentException if a shape, type or setting does not fit; the message names it
     * @see <a href="https://arxiv.org/abs/1910.07467">Root Mean Square Layer Normalization</a>
     */
    public static Normed rmsNorm(
            Tensor x,
            @Nullable Tensor residual,
            Tensor weight,
            double eps,
            double weightOffset,
            double dropout,
            long seed) {
        return checked(() -> {
            TensorVector results =
                    PeftNative.rms_norm(x, orUndefined(residual), weight, eps, weightOffset, dropout, seed);
            return new Normed(new Tensor(results.get(0)), new Tensor(results.get(1)));
        });
    }

    /** Results of {@link #rotary}, contiguous and of the shapes of its arguments. */
    public record Rotated(Tensor q, Tensor k) {}

    /**
     * Rotary position embedding: pair j of each head of row t is turned by {@code positions[t] inverseFrequencies[j]} and
     * multiplied by scaling. Linear, Llama 3 and YaRN context extension are other frequencies.
     *
     * @param q [T, heads, D]; rows may be strided, heads of a row are contiguous
     * @param k [T, key heads, D], of q's type
     * @param positions [T], int32 or int64
     * @param inverseFrequencies [R / 2], float32; R at most D numbers of a head are turned, the rest stays
     * @param scaling YaRN's attention factor, else 1
     * @param interleaved whether pairs are (2j, 2j + 1) as in GPT-J, else (j, j + R / 2) as in Llama and GPT-NeoX
     * @throws IllegalArgumentException if a shape, type or setting does not fit; the message names it
     * @see <a href="https://arxiv.org/abs/2104.09864">RoFormer: Enhanced Transformer with Rotary Position Embedding</a>
     */
    public static Rotated rotary(
            Tensor q, Tensor k, Tensor positions, Tensor inverseFrequencies, double scaling, boolean interleaved) {
        return checked(() -> {
            TensorVector results = PeftNative.rotary(q, k, positions, inverseFrequencies, scaling, interleaved);
            return new Rotated(new Tensor(results.get(0)), new Tensor(results.get(1)));
        });
    }

    /** What {@link #gatedMlp} applies to the gate: x σ(x), x Φ(x) exactly and by tanh, max(x, 0). */
    public enum Activation {
        SILU,
        GELU,
        GELU_TANH,
        RELU
    }

    /**
     * {@code act(gate) up}, element by element.
     *
     * @param gate [T, N]; rows may be strided (one part of a linear group)
     * @param up [T, N], of gate's type
     * @throws IllegalArgumentException if a shape or type does not fit; the message names it
     * @see <a href="https://arxiv.org/abs/2002.05202">GLU Variants Improve Transformer</a>
     */
    public static Tensor gatedMlp(Tensor gate, Tensor up, Activation activation) {
        return checked(() -> PeftNative.gated_mlp(gate, up, activation.name().toLowerCase(Locale.ROOT)));
    }

    /** {@code x Φ(x)}, exact. */
    public static Tensor gelu(Tensor x) {
        return checked(() -> PeftNative.gelu(x));
    }

    /** x [T, C] with elements dropped with probability p, the others scaled; x itself if p is 0. */
    public static Tensor dropout(Tensor x, double p, long seed) {
        return p == 0 ? x : checked(() -> PeftNative.dropout(x, p, seed));
    }

    /**
     * A learned activation {@code y = P(x) / Q(x)} with {@code P(x) = Σ a_i xⁱ}; the versions differ in Q.
     *
     * @param numerator [G or 1, m + 1], float32: a_0 to a_m, a row for each group of channels or one for all; m from 1 to 7
     * @param denominator [G or 1, n]: b_1 to b_n, of version C [G or 1, n + 1] from b_0; n from 1 to 6
     * @param seed of D's noise; the others do not use it
     * @see <a href="https://arxiv.org/abs/1907.06732">Padé Activation Units</a>
     * @see <a href="https://arxiv.org/abs/2409.10594">Kolmogorov-Arnold Transformer: groups of channels</a>
     */
    public record Rational(RationalVersion version, Tensor numerator, Tensor denominator, long seed) {}

    /** The denominators of {@link Rational}. */
    public enum RationalVersion {
        /** {@code 1 + Σ_{j≥1} |b_j| |x|ʲ} */
        A,
        /** {@code 1 + |Σ_{j≥1} b_j xʲ|} */
        B,
        /** {@code 0.1 + |Σ_{j≥0} b_j xʲ|} */
        C,
        /** B in training, each coefficient of each element multiplied by noise from (0.9, 1.1); without training use B. */
        D
    }

    /**
     * {@code P(x) / Q(x)}, differentiable in x and in the coefficients; finite where the true value is, NaN for infinities.
     *
     * @param x [..., C], where C is a multiple of the number of groups G
     * @return of x's shape and type; computed in float32
     * @throws IllegalArgumentException if a shape or type does not fit; the message names it
     */
    public static Tensor rational(Tensor x, Rational rational) {
        return checked(() -> PeftNative.rational(
                x,
                rational.numerator(),
                rational.denominator(),
                rational.version().name(),
                rational.seed()));
    }

    /**
     * The parameters of {@link #promptGenerator}, float32.
     *
     * @param downWeight [m, d]
     * @param downBias [m], or null
     * @param poolWeight [P, m], a row for each soft token
     * @param activation of the pooled rows, with coefficients for all m channels or for groups of them
     * @param upWeight [d, m]
     * @param upBias [d], or null
     */
    public record PromptGenerator(
            Tensor downWeight,
            @Nullable Tensor downBias,
            Tensor poolWeight,
            Rational activation,
            Tensor upWeight,
            @Nullable Tensor upBias) {}

    /**
     * P soft tokens for each sequence from the hidden rows of its instruction: {@code z = h downWeightᵀ + downBias};
     * {@code c = softmax(z poolWeightᵀ)ᵀ z}, the softmax over the instruction rows of a sequence; then
     * {@code activation(c) upWeightᵀ + upBias}. Differentiable in h and all parameters.
     *
     * @param h [T, d], packed
     * @param cuSeqlens int64 [S + 1] on the CPU
     * @param instruction [T], bool or uint8, on the CPU: not 0 for the rows that are pooled. No other row has any influence.
     *     A sequence without such a row is pooled to c = 0.
     * @return [S, P, d], of h's type
     * @throws IllegalArgumentException if a shape or type does not fit; the message names it
     * @see <a href="https://arxiv.org/abs/2405.18203">IAPT: Instruction-Aware Prompt Tuning</a>
     */
    public static Tensor promptGenerator(Tensor h, Tensor cuSeqlens, Tensor instruction, PromptGenerator generator) {
        Rational activation = generator.activation();
        return checked(() -> PeftNative.prompt_generator(
                h,
                cuSeqlens,
                instruction,
                generator.downWeight(),
                orUndefined(generator.downBias()),
                generator.poolWeight(),
                activation.numerator(),
                activation.denominator(),
                activation.version().name(),
                activation.seed(),
                generator.upWeight(),
                orUndefined(generator.upBias())));
    }

    /** Plain {@code x wᵀ + bias} for a w that is trained itself; x [T, in], w [out, in], all of one type. */
    public static Tensor linear(Tensor x, Tensor w, @Nullable Tensor bias) {
        return checked(() -> PeftNative.linear(x, w, orUndefined(bias)));
    }

    /**
     * What {@link #tokenLosses} does with a logit z.
     *
     * @param softcap c of {@code c tanh(z / c)} in z's place, 0 for none
     * @param labelSmoothing share of the probability that all classes have in equal parts, 0 to below 1
     */
    public record LossSettings(double softcap, double labelSmoothing) {
        /** Neither of the two. */
        public static final LossSettings PLAIN = new LossSettings(0, 0);
    }

    /**
     * The cross-entropy {@code -log softmax(z)[label]} of each row under a frozen head of V classes, without the logits
     * {@code z = hidden wᵀ + bias + Σ scale (dropout(hidden) Aᵀ) Bᵀ} [T, V] in memory. The gradient that comes in is the weight of
     * each row: a mean is the sum over the number of labels, and log-probabilities are the negative losses. Differentiable in
     * hidden, bias, A and B. As soon as bias or a B is trained, backward makes the logits a second time.
     *
     * @param hidden [T, d]
     * @param weight the head [V, d]
     * @param bias [V] of hidden's type, or null
     * @param updates of the head, whose rows are rows of hidden
     * @param seed of the updates' dropout
     * @param labels int64 [T] on the CPU: the class of the row (for a language model shifted already), or -100 for a row
     *     that is left out
     * @return [T], float32; 0 for a row that is left out, which has no part in any gradient
     * @throws IllegalArgumentException if a shape, type or label does not fit; the message names it
     */
    public static Tensor tokenLosses(
            Tensor hidden,
            Weight weight,
            @Nullable Tensor bias,
            List<LowRankUpdate> updates,
            long seed,
            Tensor labels,
            LossSettings settings) {
        return checked(() -> {
            Updates all = new Updates(updates);
            return PeftNative.token_losses(
                    hidden,
                    weight.handle(),
                    orUndefined(bias),
                    all.a,
                    all.b,
                    longs(all.place),
                    doubles(all.scale),
                    doubles(all.dropout),
                    seed,
                    labels,
                    settings.softcap(),
                    settings.labelSmoothing());
        });
    }

    /** The same for a head that is trained itself: w [V, d] of hidden's type; differentiable in hidden, w and bias. */
    public static Tensor tokenLosses(
            Tensor hidden, Tensor w, @Nullable Tensor bias, Tensor labels, LossSettings settings) {
        return checked(() -> PeftNative.token_losses(
                hidden, w, orUndefined(bias), labels, settings.softcap(), settings.labelSmoothing()));
    }

    /** How {@link #lmLoss} adds the losses of the labelled rows. */
    public enum Reduction {
        /** There must be a labelled row. */
        MEAN,
        SUM
    }

    /** The sum or mean of {@link #tokenLosses} under a plain frozen head: one number, float32. */
    public static Tensor lmLoss(
            Tensor hidden, Weight weight, Tensor labels, double softcap, double labelSmoothing, Reduction reduction) {
        LossSettings settings = new LossSettings(softcap, labelSmoothing);
        Tensor sum = tokenLosses(hidden, weight, null, List.of(), 0, labels, settings)
                .sum();
        if (reduction == Reduction.SUM) {
            return sum;
        }
        long count = labels.ne(new Scalar(IGNORED)).sum().item_long();
        if (count == 0) {
            throw new IllegalArgumentException(
                    "lmLoss: a mean needs at least one label, all " + labels.size(0) + " rows are left out");
        }
        return sum.div(new Scalar((double) count));
    }

    /** {@code log softmax(z)[label]} of each row: the negative {@link #tokenLosses} under a plain frozen head. */
    public static Tensor tokenLogProbs(Tensor hidden, Weight weight, Tensor labels, double softcap) {
        return tokenLosses(hidden, weight, null, List.of(), 0, labels, new LossSettings(softcap, 0))
                .neg();
    }

    /**
     * One step of AdamW for all tensors, in place.
     *
     * @param steps for each tensor, from 1: how many steps it has taken part in, this one included
     */
    public static void adamw(
            List<Tensor> parameters,
            List<Tensor> gradients,
            List<Tensor> firstMoments,
            List<Tensor> secondMoments,
            double[] learningRates,
            double[] weightDecays,
            long[] steps,
            double beta1,
            double beta2,
            double eps) {
        checked(() -> {
            PeftNative.adamw(
                    vector(parameters),
                    vector(gradients),
                    vector(firstMoments),
                    vector(secondMoments),
                    doubles(learningRates),
                    doubles(weightDecays),
                    longs(steps),
                    beta1,
                    beta2,
                    eps);
            return parameters;
        });
    }

    /** Scales the gradients to a joint norm of at most maxNorm (0: only measures); returns the norm before. */
    public static double clipGradNorm(List<Tensor> gradients, double maxNorm) {
        return checked(() -> PeftNative.clip_grad_norm(vector(gradients), maxNorm));
    }

    /** {@link #clipGradNorm} that does not wait for a card: the norm is one number, float64, where the gradients are. */
    public static Tensor clipGradNormUnread(List<Tensor> gradients, double maxNorm) {
        return checked(() -> PeftNative.clip_grad_norm_unread(vector(gradients), maxNorm));
    }

    /** Whether no number of the tensor is infinite or NaN. */
    public static boolean isFinite(Tensor t) {
        return checked(() -> {
            try (PointerScope scope = new PointerScope()) {
                return t.isfinite().all().item_bool();
            }
        });
    }

    /** A read-only tensor over a piece of a file, memory-mapped. dtype is the name of the safetensors format. */
    public static Tensor mapTensor(String file, long offset, long[] shape, String dtype) {
        return checked(() -> PeftNative.map_tensor(file, offset, longs(shape), dtype));
    }

    /** Bytes that tensors on the CPU hold now. */
    public static long liveBytes() {
        return PeftNative.live_bytes();
    }

    /** The most bytes that tensors on the CPU held since the start or {@link #resetPeakBytes}. */
    public static long peakBytes() {
        return PeftNative.peak_bytes();
    }

    public static void resetPeakBytes() {
        PeftNative.reset_peak_bytes();
    }

    /**
     * Gives the memory of freed tensors back to the system, which is kept for the next ones: at most as much as tensors once held
     * more than now, since a step of training takes again what the one before gave back.
     */
    public static void freeKeptBytes() {
        PeftNative.free_kept_blocks();
    }

    /** Bytes that tensors hold now on the device, {@code cpu} or {@code cuda:N}. */
    public static long liveBytes(Device device) {
        return checked(() -> PeftNative.live_bytes(device.handle()));
    }

    /** The most bytes that tensors held there since the start or {@link #resetPeakBytes(Device)}. */
    public static long peakBytes(Device device) {
        return checked(() -> PeftNative.peak_bytes(device.handle()));
    }

    /** Bytes of a card that nobody in the system has. From then on this process has a context there, some hundred MB. */
    public static long freeBytes(Device card) {
        return checked(() -> PeftNative.free_bytes(card.handle()));
    }

    /** From now on {@link #peakBytes(Device)} counts anew. */
    public static void resetPeakBytes(Device device) {
        checked(() -> {
            PeftNative.reset_peak_bytes(device.handle());
            return device;
        });
    }

    /** {@link #freeKeptBytes()} of a device. */
    public static void freeKeptBytes(Device device) {
        checked(() -> {
            PeftNative.free_kept_blocks(device.handle());
            return device;
        });
    }

    /**
     * Chooses implementations for the whole process: {@code auto}, {@code own}, {@code library} or {@code reference}, or
     * a list such as {@code attention=reference,gelu=library}. What is not named is chosen automatically. Beside the
     * operations {@code dual_gemm=sm_90a} gives the products of {@code lora_linear=own}, and {@code attention_forward=sm_90a} and
     * {@code attention_backward=sm_90a} the two directions of {@code attention=own}, the kernels for Hopper cards, which no card
     * has run yet; {@code sm_80} are the others.
     */
    public static void setKernels(String setting) {
        checked(() -> {
            PeftNative.set_kernels(setting);
            return setting;
        });
    }

    /**
     * Whether gradients of libtorch's attention on CUDA devices are the same bits in each run, for the whole process. They
     * are unless this or {@code -Dpeft4j.deterministic=false} switches it off, which may make training faster. All else is
     * the same bits always.
     */
    public static void setDeterministic(boolean on) {
        PeftNative.set_deterministic(on);
    }

    /** See {@link #setDeterministic}. */
    public static boolean deterministic() {
        return PeftNative.deterministic();
    }

    /** Which implementation each operation has on a CPU now, and why. */
    public static List<Kernel> kernels() {
        return parse(PeftNative.kernels_in_use());
    }

    /** Which implementation each operation has on a CUDA device, and why. */
    public static List<Kernel> cudaKernels() {
        return parse(PeftNative.cuda_kernels_in_use());
    }

    /** The same on this device, {@code cpu} or {@code cuda:N}, with the forms of own kernels that this card has. */
    public static List<Kernel> kernels(Device device) {
        return checked(() -> parse(PeftNative.kernels_in_use(device.handle())));
    }

    /**
     * A card of this machine.
     *
     * @param computeCapability such as 9.0
     */
    public record CudaDevice(int index, String name, String computeCapability, long totalBytes, Versions versions) {
        /**
         * Versions of CUDA.
         *
         * @param driver that the driver serves, such as 13.0
         * @param runtime that our kernels were built with
         */
        public record Versions(String driver, String runtime) {}
    }

    /**
     * All that the driver shows us; none where our CUDA kernels or a driver are missing, see {@link #missingCuda}. Takes nothing of
     * them.
     */
    public static List<CudaDevice> cudaDevices() {
        return checked(PeftNative::cuda_devices)
                .lines()
                .map(line -> line.split("\t", -1))
                .map(c -> new CudaDevice(
                        Integer.parseInt(c[0]), c[1], c[2], Long.parseLong(c[3]), new CudaDevice.Versions(c[4], c[5])))
                .toList();
    }

    /**
     * Why no card can be computed on, and what to do about it: our kernels, a driver, a newer one, a newer card, or libtorch's
     * libraries for CUDA are missing. Empty if at least one can.
     */
    public static String missingCuda() {
        return checked(PeftNative::missing_cuda);
    }

    /** Whether our CUDA kernels, {@code libpeft4j_cuda.so}, are loaded. */
    public static boolean hasCudaKernels() {
        return NativeLibrary.hasCudaKernels();
    }

    private static List<Kernel> parse(String table) {
        List<Kernel> kernels = new ArrayList<>();
        table.lines().forEach(line -> {
            String[] columns = line.split("\t", -1);
            kernels.add(new Kernel(columns[0], columns[1], columns[2]));
        });
        return kernels;
    }

    /** The instruction set of our CPU kernels: DEFAULT, AVX2, AVX512 or AVX512_BF16. */
    public static String cpuCapability() {
        return PeftNative.cpu_capability();
    }

    /** Whether the processor multiplies bfloat16 natively; else bfloat16 weights are computed with in float32. */
    public static boolean hasNativeBfloat16() {
        return PeftNative.cpu_has_bfloat16();
    }

    public static String buildInfo() {
        return PeftNative.build_info();
    }

    private static Tensor orUndefined(@Nullable Tensor t) {
        return t == null ? new Tensor() : t;
    }

    private static TensorVector vector(List<Tensor> tensors) {
        TensorVector vector = new TensorVector();
        tensors.forEach(vector::push_back);
        return vector;
    }

    private static LongArrayRef longs(long[] values) {
        return new LongArrayRef(new LongPointer(values), values.length);
    }

    private static DoubleArrayRef doubles(double[] values) {
        return new DoubleArrayRef(new DoublePointer(values), values.length);
    }

    /**
     * Runs native code; what it throws comes out as ours, without the C++ stack: {@link IllegalArgumentException} where a check
     * of ours refused an argument, {@link org.peft4j.error.DeviceException} for everything else.
     */
    public static <T> T checked(Supplier<T> call) {
        try {
            return call.get();
        } catch (RuntimeException e) {
            throw NativeFailure.of(e);
        }
    }
}
