package org.peft4j.method.lora;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.LayerReplication;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.ModulePattern;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;

/**
 * Settings of LoRA: {@code y = W x + (alpha / r) B A x}, with A random and B zero at the start, so a new adapter
 * changes nothing until it is trained. Names and meaning are Hugging Face PEFT's; {@link LoraLayers} answers which
 * modules are adapted, and with which rank.
 *
 * @param r rank, the inner dimension of B A; more rank, more memory and capacity (8 to 64 is usual)
 * @param alpha numerator of the scale; usually r or 2 * r
 * @param rslora scale with alpha / sqrt(r) instead of alpha / r, so that large ranks learn too
 * @param dropout probability of dropping an input of A while training, 0 to below 1
 * @param bias which biases are trained too
 * @param targets modules to adapt: a list of names or suffixes, "all-linear", or a regular expression
 * @param targetParameters tensors to adapt, by their paths or ends of them: those of the experts of a mixture, which belong to no
 *     linear layer, such as {@code mlp.experts.down_proj}; r is each expert's rank. Beside them targets may be none
 * @param excludeModules modules that are not adapted, whatever the targets say: names, suffixes or a
 *     regular expression; null: none
 * @param layersToTransform numbers of the layers to adapt, all if empty; only with a list of targets
 * @param layersPattern names of the list of layers in the path, such as "layer", tried in turn; empty takes the first number
 * @param rankPattern other ranks: name, suffix or regular expression of the end of a path → r; the first match counts
 * @param alphaPattern other alphas, in the same way
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @param init how A and B begin
 * @param svdIterations subspace iterations by which PiSSA finds the singular vectors nearly and fast; 0: exactly
 * @param dora trains the norms of the rows of the changed weight, too: {@code y = m / ‖W + s B A‖ ∘ (W + s B A) x + b}
 * @param loraBias B has a bias, which is multiplied with the scale as B A x is
 * @param dataStart settings of the starts that look at rows first, and how many of them
 * @param trainableTokens tokens whose rows of the embedding table are trained in place of the table's; empty: none
 * @param aloraInvocationTokens activated LoRA: the adapter acts from the last occurrence of these tokens in a text on, and on no row
 *     before it, so that the keys and values there are those of the plain model; on no row of a text without them. In generation the
 *     prompt alone says where. For language models; empty: it acts on all rows
 * @param aloraInvocation a text in place of these tokens, which are found out when a run begins, without special tokens
 * @param layerReplication the model's layers in another order, some more than once, with shared frozen weights and adapted each by
 *     itself: {@code [[0, 4], [2, 5]]} are the layers 0, 1, 2, 3, 2, 3, 4
 * @see <a href="https://arxiv.org/abs/2106.09685">LoRA: Low-Rank Adaptation of Large Language Models</a>
 * @see <a href="https://arxiv.org/abs/2402.09353">DoRA: Weight-Decomposed Low-Rank Adaptation</a>
 * @see <a href="https://arxiv.org/abs/2504.12397">Activated LoRA: Fine-tuned LLMs for Intrinsics</a>
 * @see <a href="https://arxiv.org/abs/2312.03732">A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA</a>
 */
public record LoraConfig(
        int r,
        double alpha,
        boolean rslora,
        double dropout,
        Bias bias,
        Targets targets,
        List<String> targetParameters,
        @Nullable Targets excludeModules,
        List<Integer> layersToTransform,
        List<String> layersPattern,
        Map<String, Integer> rankPattern,
        Map<String, Double> alphaPattern,
        List<String> modulesToSave,
        InitLora init,
        int svdIterations,
        DataStart dataStart,
        boolean dora,
        boolean loraBias,
        List<Integer> trainableTokens,
        List<Integer> aloraInvocationTokens,
        String aloraInvocation,
        LayerReplication layerReplication)
        implements MethodConfig {
    /** The largest rank: more than any layer is wide. */
    public static final int MAX_RANK = 1 << 20;

    /** Of no path. */
    private static final Targets NOTHING = Targets.regex("(?!)");

    private static final int MAX_ITERATIONS = 1000;
    private static final double MIN_ALPHA = 1e-30;

    public LoraConfig {
        checkRank("r", r);
        if (targets instanceof Targets.None && targetParameters.isEmpty()) {
            throw new IllegalArgumentException("targets must name at least one module, such as [query, value]");
        }
        checkAlpha("alpha", alpha);
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        targetParameters = targetParameters.stream().distinct().sorted().toList();
        checkParameters(targetParameters, targets, dropout, init, dora, loraBias);
        TargetLayers layers = layers(targets, excludeModules, layersToTransform, layersPattern);
        layersToTransform = layers.layersToTransform();
        layersPattern = layers.layersPattern();
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
        rankPattern = Collections.unmodifiableMap(new LinkedHashMap<>(rankPattern)); // the first match counts
        alphaPattern = Collections.unmodifiableMap(new LinkedHashMap<>(alphaPattern));
        checkEven("r", r, init);
        rankPattern.forEach((key, rank) -> {
            ModulePattern.of(key);
            checkRank("rankPattern of '" + key + "'", rank);
            checkEven("rankPattern of '" + key + "'", rank, init);
        });
        trainableTokens = List.copyOf(trainableTokens);
        if (trainableTokens.stream().anyMatch(token -> token < 0)
                || trainableTokens.stream().distinct().count() < trainableTokens.size()) {
            throw new IllegalArgumentException(
                    "trainableTokens must be numbers of tokens, from 0 on, each once, got " + trainableTokens);
        }
        checkTogether(init, svdIterations, dora, loraBias);
        dataStart.check(init);
        aloraInvocationTokens = List.copyOf(aloraInvocationTokens);
        if (aloraInvocationTokens.stream().anyMatch(token -> token < 0)) {
            throw new IllegalArgumentException(
                    "aloraInvocationTokens must be numbers of tokens, from 0 on, got " + aloraInvocationTokens);
        }
        if (!layerReplication.isNone() && bias != Bias.NONE) {
            throw new IllegalArgumentException(
                    "bias must be none with layerReplication: layers of one number share their biases"
                            + " in PEFT, and would not here, got " + bias.name().toLowerCase(Locale.ROOT));
        }
        if (!aloraInvocation.isEmpty() && aloraInvocation.isBlank()) {
            throw new IllegalArgumentException("aloraInvocation must be a text with words, or be left out, got blanks");
        }
        if (!aloraInvocationTokens.isEmpty() || !aloraInvocation.isEmpty()) {
            checkActivated(dora, loraBias, bias, trainableTokens, targetParameters);
        }
        alphaPattern.forEach((key, value) -> {
            ModulePattern.of(key);
            checkAlpha("alphaPattern of '" + key + "'", value);
        });
    }

    private static void checkEven(String what, int rank, InitLora init) {
        if (init == InitLora.ORTHOGONAL && rank % 2 != 0) {
            throw new IllegalArgumentException(what
                    + " must be even with init orthogonal, which takes half of the rank for each matrix, got " + rank);
        }
    }

    /** Settings that together would mean something that nobody has said. */
    private static void checkTogether(InitLora init, int svdIterations, boolean dora, boolean loraBias) {
        if (svdIterations < 0 || svdIterations > MAX_ITERATIONS) {
            throw new IllegalArgumentException(
                    "svdIterations must be from 0 to " + MAX_ITERATIONS + ", got " + svdIterations);
        }
        if (svdIterations > 0 && init != InitLora.PISSA) {
            throw new IllegalArgumentException("svdIterations needs init pissa, got "
                    + init.name().toLowerCase(Locale.ROOT) + " and " + svdIterations + " iterations");
        }
        if (dora && loraBias) {
            throw new IllegalArgumentException("loraBias must be false with dora, as in PEFT, got true");
        }
        if (dora && init.takesFromWeight()) {
            throw new IllegalArgumentException("dora must be false with init "
                    + init.name().toLowerCase(Locale.ROOT)
                    + ": the norms would be those of a base that is no one's, got true");
        }
        if (loraBias && init != InitLora.KAIMING) {
            throw new IllegalArgumentException("loraBias must be false with init "
                    + init.name().toLowerCase(Locale.ROOT) + ", as in PEFT, got true");
        }
    }

    /** What adapts tensors of experts goes with few other settings, as in PEFT. */
    private static void checkParameters(
            List<String> parameters, Targets targets, double dropout, InitLora init, boolean dora, boolean loraBias) {
        if (parameters.isEmpty()) {
            return;
        }
        if (parameters.contains("")) {
            throw new IllegalArgumentException("targetParameters must not contain an empty name, got " + parameters);
        }
        if (targets instanceof Targets.ModelDefault) {
            throw new IllegalArgumentException(
                    "targets must be given beside targetParameters (PEFT adapts the model's usual"
                            + " modules, too, where nothing is said): [] adapts no modules, a list of names these; got none");
        }
        String wrong = dropout > 0
                ? "dropout must be 0, got " + dropout
                : dora
                        ? "dora must be false, got true"
                        : loraBias
                                ? "loraBias must be false, got true"
                                : init != InitLora.KAIMING && init != InitLora.GAUSSIAN
                                        ? "init must be kaiming or gaussian, got "
                                                + init.name().toLowerCase(Locale.ROOT)
                                        : "";
        if (!wrong.isEmpty()) {
            throw new IllegalArgumentException(wrong + ": targetParameters " + parameters
                    + " are adapted as tensors, which go with no other, as in PEFT");
        }
    }

    /** What would change rows before the invocation, or is not offered for some rows alone. */
    private static void checkActivated(
            boolean dora, boolean loraBias, Bias bias, List<Integer> trainableTokens, List<String> targetParameters) {
        if (dora) {
            throw new IllegalArgumentException("dora must be false with aloraInvocationTokens, as in PEFT, got true");
        }
        if (loraBias) {
            throw new IllegalArgumentException(
                    "loraBias must be false with aloraInvocationTokens: it is added to all rows,"
                            + " and the adapter acts on some alone; got true");
        }
        String before =
                " with aloraInvocationTokens: it would change the rows before them, too, whose keys and values are to be"
                        + " the plain model's; got ";
        if (bias != Bias.NONE) {
            throw new IllegalArgumentException(
                    "bias must be none" + before + bias.name().toLowerCase(Locale.ROOT));
        }
        if (!trainableTokens.isEmpty()) {
            throw new IllegalArgumentException("trainableTokens must be empty" + before + trainableTokens);
        }
        if (!targetParameters.isEmpty()) {
            throw new IllegalArgumentException(
                    "targetParameters must be empty with aloraInvocationTokens: experts are adapted for all rows, got "
                            + targetParameters);
        }
    }

    private static void checkRank(String what, int rank) {
        if (rank < 1 || rank > MAX_RANK) {
            throw new IllegalArgumentException(
                    what + " must be " + (rank < 1 ? "at least 1" : "at most " + MAX_RANK) + ", got " + rank);
        }
    }

    /** Beyond these bounds alpha / r is infinite, or 0 with any rank, in the float32 that it is multiplied with. */
    private static void checkAlpha(String what, double alpha) {
        if (!(alpha >= MIN_ALPHA && alpha <= Float.MAX_VALUE)) { // also refuses NaN
            throw new IllegalArgumentException(what + " must be a positive number that float32 holds, from " + MIN_ALPHA
                    + " to " + Float.MAX_VALUE + ", got " + alpha);
        }
    }

    /** The layers that it adapts. */
    public TargetLayers layers() {
        return layers(targets, excludeModules, layersToTransform, layersPattern);
    }

    /** Of no targets, which are allowed beside parameters alone, those that match nothing. */
    private static TargetLayers layers(
            Targets targets, @Nullable Targets exclude, List<Integer> layersToTransform, List<String> layersPattern) {
        return new TargetLayers(
                targets instanceof Targets.None ? NOTHING : targets, exclude, layersToTransform, layersPattern);
    }

    /** PEFT's defaults: r 8, alpha 8, no dropout, no biases, the model's usual targets. */
    public static LoraConfig defaults() {
        return builder().build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** A builder that begins with these settings. */
    public Builder toBuilder() {
        return new Builder()
                .r(r)
                .alpha(alpha)
                .rslora(rslora)
                .dropout(dropout)
                .bias(bias)
                .targets(targets)
                .targetParameters(targetParameters)
                .excludeModules(excludeModules)
                .layersToTransform(layersToTransform)
                .layersPattern(layersPattern)
                .rankPattern(rankPattern)
                .alphaPattern(alphaPattern)
                .modulesToSave(modulesToSave)
                .init(init)
                .svdIterations(svdIterations)
                .dataStart(dataStart)
                .dora(dora)
                .loraBias(loraBias)
                .trainableTokens(trainableTokens)
                .aloraInvocationTokens(aloraInvocationTokens)
                .aloraInvocation(aloraInvocation)
                .layerReplication(layerReplication);
    }

    /** Whether it acts from certain tokens on alone (aLoRA). */
    public boolean activated() {
        return !aloraInvocationTokens.isEmpty() || !aloraInvocation.isEmpty();
    }

    @Override
    public LoraConfig withModulesToSave(List<String> modules) {
        return toBuilder().modulesToSave(modules).build();
    }

    /**
     * Builds a {@link LoraConfig}; every setting has PEFT's default. Each method sets what has its name in {@link LoraConfig},
     * where it is described. For one thread; {@code build} may be called again.
     */
    public static final class Builder {
        private int r = 8;
        private double alpha = 8;
        private boolean rslora;
        private double dropout;
        private Bias bias = Bias.NONE;
        private Targets targets = Targets.modelDefault();
        private List<String> targetParameters = List.of();
        private @Nullable Targets excludeModules;
        private List<Integer> layersToTransform = List.of();
        private List<String> layersPattern = List.of();
        private Map<String, Integer> rankPattern = Map.of();
        private Map<String, Double> alphaPattern = Map.of();
        private List<String> modulesToSave = List.of();
        private InitLora init = InitLora.KAIMING;
        private int svdIterations;
        private DataStart dataStart = DataStart.defaults();
        private boolean dora;
        private boolean loraBias;
        private List<Integer> trainableTokens = List.of();
        private List<Integer> aloraInvocationTokens = List.of();
        private String aloraInvocation = "";
        private LayerReplication layerReplication = LayerReplication.NONE;

        private Builder() {}

        public Builder r(int value) {
            r = value;
            return this;
        }

        public Builder alpha(double value) {
            alpha = value;
            return this;
        }

        public Builder rslora(boolean value) {
            rslora = value;
            return this;
        }

        public Builder dropout(double value) {
            dropout = value;
            return this;
        }

        public Builder bias(Bias value) {
            bias = value;
            return this;
        }

        public Builder targets(Targets value) {
            targets = value;
            return this;
        }

        /** Names or suffixes of the modules to adapt. */
        public Builder targets(String... names) {
            targets = Targets.names(names);
            return this;
        }

        public Builder targetParameters(List<String> value) {
            targetParameters = value;
            return this;
        }

        public Builder targetParameters(String... names) {
            return targetParameters(List.of(names));
        }

        public Builder excludeModules(@Nullable Targets value) {
            excludeModules = value;
            return this;
        }

        public Builder layersToTransform(List<Integer> value) {
            layersToTransform = value;
            return this;
        }

        public Builder layersPattern(List<String> value) {
            layersPattern = value;
            return this;
        }

        public Builder layersPattern(String... names) {
            return layersPattern(List.of(names));
        }

        /** The order of the map counts: the first match gives the rank. */
        public Builder rankPattern(Map<String, Integer> value) {
            rankPattern = value;
            return this;
        }

        /** The order of the map counts: the first match gives alpha. */
        public Builder alphaPattern(Map<String, Double> value) {
            alphaPattern = value;
            return this;
        }

        public Builder modulesToSave(List<String> value) {
            modulesToSave = value;
            return this;
        }

        public Builder init(InitLora value) {
            init = value;
            return this;
        }

        public Builder svdIterations(int value) {
            svdIterations = value;
            return this;
        }

        public Builder dataStart(DataStart value) {
            dataStart = value;
            return this;
        }

        public Builder dora(boolean value) {
            dora = value;
            return this;
        }

        public Builder loraBias(boolean value) {
            loraBias = value;
            return this;
        }

        public Builder trainableTokens(List<Integer> value) {
            trainableTokens = value;
            return this;
        }

        public Builder aloraInvocationTokens(List<Integer> value) {
            aloraInvocationTokens = value;
            return this;
        }

        public Builder aloraInvocation(String value) {
            aloraInvocation = value;
            return this;
        }

        public Builder layerReplication(LayerReplication value) {
            layerReplication = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public LoraConfig build() {
            return new LoraConfig(
                    r,
                    alpha,
                    rslora,
                    dropout,
                    bias,
                    targets,
                    targetParameters,
                    excludeModules,
                    layersToTransform,
                    layersPattern,
                    rankPattern,
                    alphaPattern,
                    modulesToSave,
                    init,
                    svdIterations,
                    dataStart,
                    dora,
                    loraBias,
                    trainableTokens,
                    aloraInvocationTokens,
                    aloraInvocation,
                    layerReplication);
        }
    }
}
