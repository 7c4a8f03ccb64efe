package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.peft4j.Fixtures.maxDifference;
import static org.peft4j.model.decoder.DecoderFixtures.open;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.generate.Answers;
import org.peft4j.generate.BeamSearch;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.method.InitRational;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.iapt.PromptInsertion;
import org.peft4j.method.iapt.PromptPositions;
import org.peft4j.method.iapt.RationalVersion;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.HiddenPrefix;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** What IAPT has to satisfy in language models: soft tokens that depend on the instruction and on nothing else. */
class IaptTest {
    private static final int NEW = 12;
    private static final IaptConfig CONFIG = sizes(4, 6, 2);
    private static final IaptConfig UNMOVED =
            CONFIG.toBuilder().promptPositions(PromptPositions.NONE).build();
    private static final IaptConfig THROUGH =
            CONFIG.toBuilder().promptInsertion(PromptInsertion.REPLACE).build();

    private static IaptConfig sizes(int tokens, int bottleneck, int share) {
        return IaptConfig.builder()
                .virtualTokens(tokens)
                .bottleneckSize(bottleneck)
                .shareGroup(share)
                .build();
    }

    private static IaptConfig rational(RationalVersion version, List<Integer> degrees, InitRational init) {
        return CONFIG.toBuilder()
                .rationalVersion(version)
                .rationalDegrees(degrees)
                .rationalInit(init)
                .build();
    }

    /** An adapter whose values are all random. */
    private static Adapter trained(HeadedModel model, IaptConfig config, long seed) {
        Adapter adapter = Methods.of(config).attach("iapt" + seed, config, model.points(), seed);
        for (Parameter parameter : adapter.parameters().values()) {
            try (PointerScope scope = new PointerScope()) {
                double std = parameter.path().contains("up.") ? 0.5 : 0.2;
                parameter.set(Tensors.toFloats(
                        parameter.value().add(Init.normal(seed, parameter.path(), std, parameter.shape()))));
            }
        }
        return adapter;
    }

    /** The same adapter, which notes down what its generators make: [layers][sequences · P · C]. */
    private static Adapter watched(Adapter adapter, List<float[]> made) {
        Adapter.Builder builder = Adapter.builder("watched", Device.CPU).positions(adapter.positions());
        adapter.claims(KeyValuePoint.class).forEach((point, claims) -> {
            HiddenPrefix claim = (HiddenPrefix) claims.get(0);
            builder.claim(point, new HiddenPrefix() {
                @Override
                public Tensor rows(Tensor h, Packing packing, Tensor instruction) {
                    Tensor rows = claim.rows(h, packing, instruction);
                    made.add(Tensors.toFloats(rows));
                    return rows;
                }

                @Override
                public boolean turned() {
                    return claim.turned();
                }

                @Override
                public boolean throughTheBlock() {
                    return claim.throughTheBlock();
                }

                @Override
                public int count() {
                    return claim.count();
                }
            });
        });
        return builder.build();
    }

    private static float[] logits(
            HeadedModel model, @Nullable Adapter adapter, int[] lengths, int[] tokens, int @Nullable [] instructions) {
        try (PointerScope scope = new PointerScope();
                ForwardContext plain =
                        ForwardContext.inference(Packing.of(lengths), Collections.nCopies(lengths.length, adapter));
                ForwardContext context = instructions == null ? plain : plain.withInstructions(instructions)) {
            return Tensors.toFloats(model.outputs(Tokens.of(tokens), context));
        }
    }

    /** Soft tokens of all layers. */
    private static List<float[]> prompts(
            HeadedModel model, Adapter adapter, int[] lengths, int[] tokens, int @Nullable [] instructions) {
        List<float[]> made = new ArrayList<>();
        try (Adapter watched = watched(adapter, made)) {
            logits(model, watched, lengths, tokens, instructions);
        }
        return made;
    }

    private static float[] first(float[] values, int of) {
        return Arrays.copyOf(values, values.length / of);
    }

    @Test
    void promptsDependOnTheInstructionAndNotOnOtherTexts() throws IOException {
        try (HeadedModel model = open("qwen3", HeadKind.LANGUAGE, 0);
                Adapter adapter = trained(model, CONFIG, 1)) {
            int[] lengths = {5, 4};
            List<float[]> made = prompts(model, adapter, lengths, new int[] {3, 4, 5, 6, 7, 8, 9, 10, 11}, null);
            List<float[]> beside = prompts(model, adapter, lengths, new int[] {3, 4, 5, 6, 7, 20, 9, 30, 40}, null);
            List<float[]> other = prompts(model, adapter, lengths, new int[] {3, 4, 9, 6, 7, 8, 9, 10, 11}, null);
            assertThat(made).hasSize(model.points().layers());
            for (int layer = 0; layer < made.size(); layer++) {
                assertThat(first(made.get(layer), 2)).isEqualTo(first(beside.get(layer), 2));
                assertThat(maxDifference(made.get(layer), beside.get(layer))).isGreaterThan(1e-3);
                assertThat(maxDifference(first(made.get(layer), 2), first(other.get(layer), 2)))
                        .isGreaterThan(1e-3);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"qwen3", "gpt2", "gemma2", "phi3"})
    void noTokenOfTheResponseReachesThePrompts(String name) throws IOException {
        int[] text = {3, 4, 5, 6, 7, 8, 9, 10};
        int[] changed = {3, 4, 5, 6, 30, 31, 32, 33};
        int[] length = {8};
        int[] instruction = {4};
        try (HeadedModel model = open(name, HeadKind.LANGUAGE, 0);
                Adapter adapter = trained(model, CONFIG, 1)) {
            List<float[]> made = prompts(model, adapter, length, text, instruction);
            List<float[]> same = prompts(model, adapter, length, changed, instruction);
            List<float[]> all = prompts(model, adapter, length, changed, null);
            for (int layer = 0; layer < made.size(); layer++) {
                assertThat(same.get(layer)).isEqualTo(made.get(layer));
                assertThat(maxDifference(all.get(layer), made.get(layer))).isGreaterThan(1e-3);
            }
            // A logit before the changed tokens stays, too: nothing leaks.
            int before = 4 * 64;
            assertThat(Arrays.copyOf(logits(model, adapter, length, changed, instruction), before))
                    .isEqualTo(Arrays.copyOf(logits(model, adapter, length, text, instruction), before));
            assertThat(maxDifference(
                            Arrays.copyOf(logits(model, adapter, length, changed, null), before),
                            Arrays.copyOf(logits(model, adapter, length, text, null), before)))
                    .isGreaterThan(1e-4);
        }
    }

    /** Weights sum to 1 for each soft token: rows that are alike are pooled to what one of them is alone. */
    @Test
    void poolingIsAnAverage() throws IOException {
        try (HeadedModel model = open("qwen3", HeadKind.LANGUAGE, 0);
                Adapter adapter = trained(model, CONFIG, 1);
                PointerScope scope = new PointerScope()) {
            HiddenPrefix claim = (HiddenPrefix) adapter.claims(KeyValuePoint.class)
                    .values()
                    .iterator()
                    .next()
                    .get(0);
            long c = model.points().hiddenSize();
            Tensor row = Init.normal(4, "row", 1, 1, c);
            Tensor others = Init.normal(5, "others", 1, 5, c);
            Tensor alike = row.expand(6, c).contiguous();
            float[] of = Tensors.toFloats(claim.rows(alike, Packing.of(6), all(6)));
            float[] alone = Tensors.toFloats(claim.rows(row, Packing.of(1), all(1)));
            assertThat(maxDifference(of, alone)).isLessThan(1e-5);
            int width = (int) c;
            for (int p = 1; p < 4; p++) { // whatever the scores are, the weight of one row is 1
                assertThat(maxDifference(
                                Arrays.copyOfRange(alone, p * width, (p + 1) * width), Arrays.copyOf(alone, width)))
                        .isLessThan(1e-6);
            }
            Tensor among = org.bytedeco.pytorch.global.torch.cat(new org.bytedeco.pytorch.TensorVector(row, others), 0);
            Tensor chosen = Tensors.ofLongs(new long[] {1, 0, 0, 0, 0, 0}, 6).to(ScalarType.Bool);
            assertThat(maxDifference(Tensors.toFloats(claim.rows(among, Packing.of(6), chosen)), alone))
                    .isLessThan(1e-6);
            assertThat(maxDifference(Tensors.toFloats(claim.rows(among, Packing.of(6), all(6))), alone))
                    .isGreaterThan(1e-3);
        }
    }

    private static Tensor all(int rows) {
        long[] ones = new long[rows];
        Arrays.fill(ones, 1);
        return Tensors.ofLongs(ones, rows).to(ScalarType.Bool);
    }

    private static GenerationSettings greedy(Answers answers) {
        return new GenerationSettings(NEW, Sampling.GREEDY, answers, List.of(), List.of(), true);
    }

    private static List<Generated> generate(HeadedModel model, List<Prompt> prompts) {
        return new Generator(model.model(), (LanguageHead) model.head())
                .generate(prompts, greedy(Answers.ONE), null, GenerationListener.NONE);
    }

    /** Of every family, windows or not: each new token is what the whole text gives, whose instruction is the prompt. */
    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
    void decodingWithTheCacheIsTheWholeTextWithThePromptsOfItsInstruction(String name) throws IOException {
        Fixtures.Sentences texts = Fixtures.sentences(DecoderFixtures.expected(name));
        try (HeadedModel model = open(name, HeadKind.LANGUAGE, 0)) {
            for (IaptConfig config : List.of(CONFIG, UNMOVED)) {
                try (Adapter adapter = trained(model, config, 1)) {
                    List<Prompt> prompts = new ArrayList<>();
                    for (int s = 0; s < texts.packing().sequences(); s += 2) {
                        prompts.add(new Prompt(texts.only(s).tokens(), adapter, s));
                    }
                    List<Generated> made = generate(model, prompts);
                    for (int i = 0; i < made.size(); i++) {
                        follows(model, adapter, prompts.get(i).ids(), made.get(i));
                    }
                }
            }
        }
    }

    private static void follows(HeadedModel model, Adapter adapter, int[] prompt, Generated made) {
        double[] told = java.util.Objects.requireNonNull(made.logProbs());
        for (int n : new int[] {0, 1, NEW / 2, NEW - 1}) {
            int[] text = Arrays.copyOf(prompt, prompt.length + n);
            System.arraycopy(made.ids(), 0, text, prompt.length, n);
            float[] logits = logits(model, adapter, new int[] {text.length}, text, new int[] {prompt.length});
            float[] last = Arrays.copyOfRange(logits, logits.length - logits.length / text.length, logits.length);
            assertThat(told[n]).as("token " + n).isCloseTo(logProb(last, made.ids()[n]), within(1e-3));
        }
    }

    private static double logProb(float[] logits, int token) {
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - logits[token]);
        }
        return -Math.log(sum);
    }

    @ParameterizedTest
    @ValueSource(strings = {"qwen3", "gemma3", "gpt2"})
    void tenantsOfOneBatchAreEachAsIfAlone(String name) throws IOException {
        Fixtures.Sentences texts = Fixtures.sentences(DecoderFixtures.expected(name));
        try (HeadedModel model = open(name, HeadKind.LANGUAGE, 0);
                Adapter one = trained(model, CONFIG, 1);
                Adapter two = trained(model, sizes(2, 5, 1), 2);
                Adapter three = trained(model, UNMOVED, 3);
                Adapter lora = DecoderFixtures.adapter(name + "/lora", model)) {
            List<Prompt> prompts = new ArrayList<>();
            for (int s = 1; s < texts.packing().sequences(); s++) {
                for (Adapter adapter : Arrays.asList(one, null, two, lora, three)) {
                    prompts.add(new Prompt(texts.only(s).tokens(), adapter, s));
                }
            }
            List<Generated> together = generate(model, prompts);
            for (int i = 0; i < prompts.size(); i++) {
                Generated alone = generate(model, List.of(prompts.get(i))).get(0);
                assertThat(together.get(i).ids()).as("answer " + i).isEqualTo(alone.ids());
            }
        }
    }

    /** Ready keys and values, gates, and soft tokens of several kinds beside each other, as rows and in the cache. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void allThatActsOnKeysAndValuesMixesInOneBatch(boolean half) throws IOException {
        ModelOptions options = new ModelOptions(Device.CPU, half ? ScalarType.BFloat16 : ScalarType.Float, false, 0);
        List<Adapter> adapters = new ArrayList<>();
        try (HeadedModel model = open(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE, 0, options)) {
            for (String name : List.of("prefix", "adaption-prompt", "lora")) {
                adapters.add(AdapterStore.read(Fixtures.TINY_LLAMA.resolve(name), name, model.points())
                        .adapter());
            }
            for (IaptConfig config : List.of(CONFIG, UNMOVED, THROUGH)) {
                adapters.add(trained(model, config, adapters.size()));
            }
            adapters.add(2, null);
            int[] text = {5, 40, 7, 99, 120, 33};
            int[] joined = new int[adapters.size() * text.length];
            Arrays.setAll(joined, i -> text[i % text.length]);
            int[] lengths = new int[adapters.size()];
            Arrays.fill(lengths, text.length);
            float[] together;
            try (PointerScope scope = new PointerScope();
                    ForwardContext context = ForwardContext.inference(Packing.of(lengths), adapters)) {
                together = Tensors.toFloats(model.outputs(Tokens.of(joined), context));
            }
            List<Generated> made = generate(
                    model,
                    adapters.stream()
                            .map(adapter -> new Prompt(text, adapter, 0))
                            .toList());
            int each = together.length / lengths.length;
            for (int i = 0; i < lengths.length; i++) {
                float[] alone = logits(model, adapters.get(i), new int[] {text.length}, text, null);
                assertThat(maxDifference(Arrays.copyOfRange(together, i * each, (i + 1) * each), alone))
                        .as("adapter " + i)
                        .isLessThan((half ? 3e-2 : 1e-5) * largest(alone));
                if (!half) {
                    assertThat(made.get(i).ids())
                            .as("adapter " + i)
                            .isEqualTo(generate(model, List.of(new Prompt(text, adapters.get(i), 0)))
                                    .get(0)
                                    .ids());
                }
            }
            // What goes through the layers gives the same as what does not.
            try (Adapter beside = trained(model, CONFIG, 5)) {
                float[] logits = logits(model, beside, new int[] {text.length}, text, null);
                assertThat(maxDifference(logits, Arrays.copyOfRange(together, 6 * each, 7 * each)))
                        .isLessThan((half ? 5e-2 : 1e-5) * largest(logits));
            }
        } finally {
            adapters.stream().filter(java.util.Objects::nonNull).forEach(Adapter::close);
        }
    }

    /** Answers that begin alike share the prompt's rows in the cache, soft tokens among them. */
    @Test
    void severalAnswersOfOnePromptHaveItsSoftTokens() throws IOException {
        try (HeadedModel model = open("qwen3", HeadKind.LANGUAGE, 0);
                Adapter adapter = trained(model, CONFIG, 1)) {
            Prompt prompt = new Prompt(new int[] {5, 9, 13, 17, 21, 25, 29}, adapter, 0);
            Generated greedy = generate(model, List.of(prompt)).get(0);
            List<Generated> beams = new Generator(model.model(), (LanguageHead) model.head())
                    .answers(List.of(prompt), greedy(new Answers(3, BeamSearch.of(3))), null, GenerationListener.NONE)
                    .get(0);
            for (Generated answer : beams) {
                follows(model, adapter, prompt.ids(), answer);
            }
            assertThat(beams).hasSize(3);
            assertThat(greedy.ids()).hasSize(NEW);
        }
    }

    /** In double: pooling weights and the activation's coefficients. */
    @ParameterizedTest
    @ValueSource(strings = {"A", "B"})
    void gradientsOfPoolingAndCoefficientsAreDifferences(String version) {
        try (PointerScope scope = new PointerScope()) {
            Tensor h = doubles("h", 1, 7, 6);
            Tensor down = doubles("down", 0.5, 5, 6);
            Tensor up = doubles("up", 0.5, 6, 5);
            Tensor weights = doubles("weights", 1, 2, 3, 6);
            List<Tensor> trained = List.of(doubles("pool", 1, 3, 5), doubles("a", 0.5, 1, 6), doubles("b", 0.5, 1, 4));
            UnaryOperator<Tensor> alone = t -> t.detach().clone().requires_grad_(true);
            List<Tensor> leaves = trained.stream().map(alone).toList();
            loss(version, h, down, up, weights, leaves).backward();
            for (int i = 0; i < leaves.size(); i++) {
                Tensor gradient = leaves.get(i).grad();
                for (long at = 0; at < gradient.numel(); at++) {
                    double eps = 1e-5;
                    double difference = (shifted(version, h, down, up, weights, trained, i, at, eps)
                                    - shifted(version, h, down, up, weights, trained, i, at, -eps))
                            / (2 * eps);
                    double slope = gradient.flatten().select(0, at).item_double();
                    assertThat(difference)
                            .as("tensor %d, element %d", i, at)
                            .isCloseTo(slope, within(1e-6 * Math.max(1e-2, Math.abs(slope))));
                }
            }
        }
    }

    private static double shifted(
            String version,
            Tensor h,
            Tensor down,
            Tensor up,
            Tensor weights,
            List<Tensor> trained,
            int which,
            long at,
            double by) {
        List<Tensor> moved = new ArrayList<>(trained);
        Tensor own = trained.get(which).detach().clone();
        own.view(-1).select(0, at).add_(new Scalar(by));
        moved.set(which, own);
        return loss(version, h, down, up, weights, moved).item_double();
    }

    private static Tensor loss(String version, Tensor h, Tensor down, Tensor up, Tensor weights, List<Tensor> trained) {
        Tensor chosen = Tensors.ofLongs(new long[] {1, 1, 1, 0, 1, 0, 1}, 7).to(ScalarType.Bool);
        Ops.Rational rational =
                new Ops.Rational(Ops.RationalVersion.valueOf(version), trained.get(1), trained.get(2), 0);
        Tensor rows = Ops.promptGenerator(
                h,
                Packing.of(4, 3).cuSeqlens(),
                chosen,
                new Ops.PromptGenerator(down, null, trained.get(0), rational, up, null));
        return rows.mul(weights).sum();
    }

    private static Tensor doubles(String name, double std, long... shape) {
        return Init.normal(6, name, std, shape).to(ScalarType.Double);
    }

    /** Both readings of what a layer sees; a window would hide what goes through the layer. */
    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
    void whatGoesThroughTheLayerGivesTheSame(String name) throws IOException {
        Map<String, org.peft4j.io.safetensors.TensorData> expected = DecoderFixtures.expected(name);
        Fixtures.Sentences texts = Fixtures.sentences(expected);
        try (HeadedModel model = open(name, HeadKind.LANGUAGE, 0)) {
            if (model.points().keyValues().stream().anyMatch(point -> point.window() > 0)) {
                assertThatThrownBy(() -> trained(model, THROUGH, 1))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageStartingWith("prompt_insertion: replace would let the window of 6 rows");
                return;
            }
            int[] instructions = Arrays.stream(texts.lengths())
                    .map(length -> (length + 1) / 2)
                    .toArray();
            try (Adapter beside = trained(model, CONFIG, 1);
                    Adapter through = trained(model, THROUGH, 1)) {
                float[] logits = logits(model, beside, texts.lengths(), texts.tokens(), instructions);
                assertThat(maxDifference(logits(model, through, texts.lengths(), texts.tokens(), instructions), logits))
                        .isLessThan(1e-5 * largest(logits));
                assertThat(maxDifference(logits(model, null, texts.lengths(), texts.tokens(), null), logits))
                        .isGreaterThan(1e-2);
                for (Adapter adapter : List.of(beside, through)) {
                    try (PointerScope scope = new PointerScope();
                            ForwardContext plain = ForwardContext.training(texts.packing(), 1, adapter);
                            ForwardContext context = plain.withInstructions(instructions)) {
                        model.outputs(Tokens.of(texts.tokens()), context)
                                .pow(new Scalar(2))
                                .mean()
                                .backward();
                        context.backward();
                    }
                }
                beside.parameters().forEach((path, parameter) -> {
                    float[] ours = Tensors.toFloats(parameter.value().grad());
                    float[] theirs = Tensors.toFloats(
                            through.parameters().get(path).value().grad());
                    assertThat(maxDifference(ours, theirs)).as(path).isLessThan(1e-4 * largest(ours));
                });
            }
        }
    }

    /** In a model whose rows see all of their sequence, too: what comes out of soft tokens is thrown away. */
    @Test
    void inAnEncoderWhatGoesThroughTheLayerGivesTheSame() throws IOException {
        Fixtures.Sentences texts = Fixtures.tinySentences();
        try (HeadedModel model = open(Fixtures.TINY_BERT, HeadKind.SEQUENCE, 2, DecoderFixtures.OPTIONS);
                Adapter beside = trained(model, CONFIG, 1);
                Adapter through = trained(model, THROUGH, 1)) {
            float[] logits = logits(model, beside, texts.lengths(), texts.tokens(), null);
            assertThat(maxDifference(logits(model, through, texts.lengths(), texts.tokens(), null), logits))
                    .isLessThan(1e-5);
            assertThat(maxDifference(logits(model, null, texts.lengths(), texts.tokens(), null), logits))
                    .isGreaterThan(1e-3);
        }
    }

    private static double largest(float[] values) {
        double most = 1e-6;
        for (float value : values) {
            most = Math.max(most, Math.abs(value));
        }
        return most;
    }

    /** Where positions count, it makes a difference whether soft tokens have some. */
    @Test
    void positionsAreObeyed() throws IOException {
        Fixtures.Sentences texts = Fixtures.sentences(DecoderFixtures.expected("qwen3"));
        try (HeadedModel model = open("qwen3", HeadKind.LANGUAGE, 0);
                Adapter shifted = trained(model, CONFIG, 1);
                Adapter unmoved = trained(model, UNMOVED, 1)) {
            assertThat(shifted.positions()).isEqualTo(4);
            assertThat(unmoved.positions()).isZero();
            assertThat(maxDifference(
                            logits(model, shifted, texts.lengths(), texts.tokens(), null),
                            logits(model, unmoved, texts.lengths(), texts.tokens(), null)))
                    .isGreaterThan(1e-3);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"A", "B"})
    void activationsBeginAsTheySay(String version) throws IOException {
        float[] xs = {-2.9f, -2, -1, -0.5f, 0, 0.25f, 1, 2, 2.9f};
        try (HeadedModel model = open("qwen3", HeadKind.LANGUAGE, 0)) {
            for (InitRational init : InitRational.values()) {
                for (List<Integer> degrees : List.of(List.of(5, 4), List.of(6, 5), List.of(7, 6))) {
                    float[] found = activation(model, rational(RationalVersion.valueOf(version), degrees, init), xs);
                    for (int i = 0; i < xs.length; i++) {
                        assertThat((double) found[i])
                                .as("%s of %s at %s", init, degrees, xs[i])
                                .isCloseTo(function(init, xs[i]), within(init == InitRational.RELU ? 0.035 : 0.006));
                    }
                }
            }
        }
    }

    private static float[] activation(HeadedModel model, IaptConfig config, float[] xs) {
        try (PointerScope scope = new PointerScope();
                Adapter adapter = Methods.of(config).attach("iapt", config, model.points(), 1)) {
            Ops.Rational rational = new Ops.Rational(
                    Ops.RationalVersion.valueOf(config.rationalVersion().name()),
                    adapter.parameters().get("prompt_act.0.numerator").value().unsqueeze(0),
                    adapter.parameters().get("prompt_act.0.denominator").value().unsqueeze(0),
                    0);
            return Tensors.toFloats(Ops.rational(Tensors.ofFloats(xs, xs.length, 1), rational));
        }
    }

    private static double function(InitRational init, double x) {
        return switch (init) {
            case GELU -> x * 0.5 * (1 + erf(x / Math.sqrt(2)));
            case RELU -> Math.max(0, x);
            case SWISH -> x / (1 + Math.exp(-x));
            case TANH -> Math.tanh(x);
            case IDENTITY -> x;
            case ONE -> 1;
        };
    }

    /** Its series. */
    private static double erf(double x) {
        double term = x;
        double sum = x;
        for (int n = 1; n < 80; n++) {
            term *= -x * x / n;
            sum += term / (2 * n + 1);
        }
        return 2 / Math.sqrt(Math.PI) * sum;
    }

    @Test
    void settingsThatCannotBeAreRefused() {
        assertThatThrownBy(() -> rational(RationalVersion.A, List.of(3, 2), InitRational.GELU))
                .hasMessage(
                        "rationalDegrees must be at least [5, 4] to begin as gelu, got [3, 2]; identity goes with any");
        rational(RationalVersion.A, List.of(3, 2), InitRational.IDENTITY);
        assertThatThrownBy(() -> rational(RationalVersion.A, List.of(8, 4), InitRational.GELU))
                .hasMessageContaining("from 1 to 7 and from 1 to 6, got [8, 4]");
        assertThatThrownBy(() -> UNMOVED.toBuilder()
                        .promptInsertion(PromptInsertion.REPLACE)
                        .build())
                .hasMessageContaining("promptInsertion replace needs promptPositions shift, got none");
        assertThatThrownBy(() -> sizes(0, 4, 1)).hasMessage("virtualTokens must be at least 1, got 0");
    }
}
