package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.spi.prefix.PrefixMethod;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;

/** Windows that hide rows but never a prefix, and the end of the positions; on models with a window of 6 and 40 positions. */
class PositionsTest {
    private static final int WINDOW = 6;
    private static final int PREFIX = 3;
    private static final int POSITIONS = 40;

    private static HeadedModel open(String family) throws Exception {
        return HeadedModel.open(
                ModelDirectory.open(Fixtures.ROOT.resolve("decoders").resolve(family)),
                ModelOptions.defaults(),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
    }

    private static Adapter prefix(HeadedModel model, long seed) {
        return new PrefixMethod().attach("prefix " + seed, PrefixConfig.of(PREFIX), model.points(), seed);
    }

    private static int[] ids(int length) {
        return IntStream.range(0, length).map(i -> 3 + i * 17 % 60).toArray();
    }

    private static GenerationSettings greedy(int most) {
        return new GenerationSettings(most, Sampling.GREEDY, Answers.ONE, List.of(), List.of(), true);
    }

    /** Log-probabilities behind the last row of a whole text. */
    private static double[] last(HeadedModel model, int[] whole, Adapter adapter) {
        try (PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard();
                ForwardContext context = ForwardContext.inference(
                        Packing.of(whole.length), adapter == null ? new Adapter[0] : new Adapter[] {adapter})) {
            float[] all =
                    Tensors.toFloats(model.outputs(Tokens.of(whole), context).log_softmax(1));
            int vocabulary = model.model().info().vocabulary();
            return IntStream.range(all.length - vocabulary, all.length)
                    .mapToDouble(i -> all[i])
                    .toArray();
        }
    }

    /** Beside texts without a prefix and with another one; the text grows to three times the window. */
    @ParameterizedTest
    @ValueSource(strings = {"mistral", "gemma2", "gemma3", "phi3", "gpt2"})
    void aWindowNeverHidesAPrefix(String family) throws Exception {
        try (HeadedModel model = open(family);
                Adapter one = prefix(model, 1);
                Adapter other = prefix(model, 2)) {
            List<Prompt> prompts = List.of(
                    new Prompt(ids(2), one, 0),
                    new Prompt(ids(9), null, 1),
                    new Prompt(ids(5), other, 2),
                    new Prompt(ids(9), one, 3));
            List<Generated> ours = new Generator(model.model(), (LanguageHead) model.head())
                    .generate(prompts, greedy(3 * WINDOW), null, GenerationListener.NONE);
            for (int p = 0; p < prompts.size(); p++) {
                int[] prompt = prompts.get(p).ids();
                int[] fresh = ours.get(p).ids();
                assertThat(fresh).hasSize(3 * WINDOW);
                for (int n = 0; n < fresh.length; n++) {
                    int[] whole = Arrays.copyOf(prompt, prompt.length + n);
                    System.arraycopy(fresh, 0, whole, prompt.length, n);
                    double[] anew = last(model, whole, prompts.get(p).adapter());
                    String what = "prompt " + p + ", token " + n;
                    assertThat(ours.get(p).logProbs()[n]).as(what).isCloseTo(anew[fresh[n]], offset(1e-4));
                    assertThat(anew[fresh[n]])
                            .as(what)
                            .isCloseTo(Arrays.stream(anew).max().orElseThrow(), offset(1e-4));
                }
            }
            // Two layers see back two windows at most: only a prefix that is not hidden is felt behind that.
            double[] with = last(model, ids(30), one);
            double[] without = last(model, ids(30), other);
            assertThat(IntStream.range(0, with.length)
                            .mapToDouble(i -> Math.abs(with[i] - without[i]))
                            .max()
                            .orElseThrow())
                    .isGreaterThan(1e-2);
        }
    }

    @Test
    void aModelWithATableOfPositionsEndsWhereItDoes() throws Exception {
        try (HeadedModel model = open("gpt2");
                Adapter prefix = prefix(model, 1);
                Engine engine = new Engine(model.model(), (LanguageHead) model.head(), Engine.Limits.of(8))) {
            for (Adapter adapter : Arrays.asList(null, prefix)) {
                int room = POSITIONS - (adapter == null ? 0 : PREFIX);
                Request nearly = add(engine, room - 5, adapter, 20);
                Request full = add(engine, room, adapter, 20);
                Request few = add(engine, room - 5, adapter, 4);
                engine.run();
                // The last new token needs no position: the model never reads it.
                assertThat(nearly.answers().get(0).ids()).hasSize(6);
                assertThat(nearly.answers().get(0).reason()).isEqualTo(Generated.Reason.LENGTH);
                assertThat(full.answers().get(0).ids()).hasSize(1);
                assertThat(few.answers().get(0).ids()).hasSize(4);
                assertThatThrownBy(() -> add(engine, room + 1, adapter, 20))
                        .isInstanceOf(ConfigException.class)
                        .hasMessageContaining("prompt 7 has " + (room + 1) + " tokens, but the model has 40 positions")
                        .hasMessageContaining(
                                adapter == null ? "shorten it" : "of which the adapter 'prefix 1' takes 3");
            }
        }
    }

    private static Request add(Engine engine, int length, Adapter adapter, int most) {
        return engine.add(new Prompt(ids(length), adapter, 7), greedy(most), null, GenerationListener.NONE);
    }
}
