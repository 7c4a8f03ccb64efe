package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.spi.AdapterStore;
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
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** Requests that come and go, on tiny-llama. */
class EngineTest {
    /** Bytes of a block: keys and values of 2 layers, 2 heads of 8, 16 rows, float32. */
    private static final long BLOCK_BYTES = 2 * 2 * 2 * 8 * 16 * 4;

    private static HeadedModel model;
    private static final List<Adapter> ADAPTERS = new ArrayList<>();

    @BeforeAll
    static void open() throws Exception {
        model = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                ModelOptions.defaults(),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
        ADAPTERS.add(null);
        for (String name : List.of("lora", "prefix", "ia3", "prompt")) {
            ADAPTERS.add(AdapterStore.read(AdapterFiles.read(Fixtures.TINY_LLAMA.resolve(name)), name, model.points())
                    .adapter());
        }
    }

    @AfterAll
    static void close() {
        ADAPTERS.stream().filter(adapter -> adapter != null).forEach(Adapter::close);
        ADAPTERS.clear();
        model.close();
    }

    private static Engine engine(int sequences, long cacheBytes) {
        return new Engine(model.model(), (LanguageHead) model.head(), new Engine.Limits(sequences, cacheBytes));
    }

    private static Prompt prompt(int number, int length, Adapter adapter) {
        int[] ids = IntStream.range(0, length)
                .map(i -> 3 + (number * 31 + i * 37) % 190)
                .toArray();
        return new Prompt(ids, adapter, number);
    }

    private static GenerationSettings greedy(int maxNewTokens) {
        return new GenerationSettings(maxNewTokens, Sampling.GREEDY, Answers.ONE, List.of(), List.of(), true);
    }

    private static GenerationSettings drawn(int maxNewTokens, int n) {
        return new GenerationSettings(
                maxNewTokens,
                new Sampling(0.9, 40, 0.95, 0.01, new Penalties(1.1, 0.1, 0), 5),
                new Answers(n, null),
                List.of(),
                List.of(),
                true);
    }

    private static GenerationSettings searched(int maxNewTokens) {
        return new GenerationSettings(
                maxNewTokens,
                Sampling.GREEDY,
                new Answers(2, new BeamSearch(3, 1, BeamSearch.EarlyStopping.NO)),
                List.of(),
                List.of(17),
                true);
    }

    private static Request add(Engine engine, Prompt prompt, GenerationSettings settings) {
        return engine.add(prompt, settings, null, GenerationListener.NONE);
    }

    /** A crowd: each adapter with each way to answer, of several lengths. */
    private static List<Prompt> prompts() {
        return IntStream.range(0, 15)
                .mapToObj(i -> prompt(i, 1 + i * 5 % 18, ADAPTERS.get(i % 5)))
                .toList();
    }

    private static GenerationSettings settings(int number) {
        return switch (number / 5) {
            case 0 -> greedy(4 + number * 3);
            case 1 -> drawn(3 + number, 3);
            default -> searched(number);
        };
    }

    @Test
    void answersAreTheSameAloneAndInACrowdThatComesAndGoes() {
        List<Prompt> prompts = prompts();
        List<List<Generated>> alone = new ArrayList<>();
        for (int i = 0; i < prompts.size(); i++) {
            try (Engine engine = engine(4, 0)) {
                Request request = add(engine, prompts.get(i), settings(i));
                engine.run();
                alone.add(request.answers());
            }
        }
        try (Engine engine = engine(9, 40 * BLOCK_BYTES)) {
            List<Request> requests = new ArrayList<>();
            int most = 0;
            while (requests.size() < prompts.size() || !engine.idle()) {
                for (int i = 0; i < 1 + requests.size() % 3 && requests.size() < prompts.size(); i++) {
                    requests.add(add(engine, prompts.get(requests.size()), settings(requests.size())));
                }
                engine.step();
                most = Math.max(most, engine.load().sequences());
                assertThat(engine.load().blocks())
                        .isLessThanOrEqualTo((int) engine.load().promised());
                assertThat(engine.load().promised())
                        .isLessThanOrEqualTo(engine.load().most());
            }
            assertThat(most).isBetween(5, 9);
            for (int i = 0; i < prompts.size(); i++) {
                assertSame("request " + i, requests.get(i).answers(), alone.get(i));
            }
            assertThat(engine.load()).isEqualTo(new Engine.Load(0, 0, 0, 0, 40));
        }
    }

    private static void assertSame(String what, List<Generated> ours, List<Generated> theirs) {
        assertThat(ours).as(what).hasSameSizeAs(theirs);
        for (int a = 0; a < ours.size(); a++) {
            assertThat(ours.get(a).ids()).as(what).isEqualTo(theirs.get(a).ids());
            assertThat(ours.get(a).reason()).as(what).isEqualTo(theirs.get(a).reason());
            assertThat(ours.get(a).logProbs())
                    .as(what)
                    .containsExactly(theirs.get(a).logProbs(), offset(1e-4));
        }
    }

    /** Also that they are those of the model, whatever penalties and limits then did. */
    @Test
    void cachedLogProbabilitiesOfACrowdAreThoseOfWholeTexts() {
        List<Prompt> prompts = prompts();
        try (Engine engine = engine(16, 0)) {
            List<Request> requests = IntStream.range(0, 15)
                    .mapToObj(i -> add(engine, prompts.get(i), settings(i)))
                    .toList();
            engine.run();
            for (Request request : requests) {
                for (Generated answer : request.answers()) {
                    assertThat(answer.logProbs())
                            .as("request " + request.prompt().number())
                            .containsExactly(anew(request.prompt(), answer.ids()), offset(1e-4));
                }
            }
        }
    }

    private static double[] anew(Prompt prompt, int[] fresh) {
        int[] whole = Arrays.copyOf(prompt.ids(), prompt.ids().length + fresh.length);
        System.arraycopy(fresh, 0, whole, prompt.ids().length, fresh.length);
        Adapter[] adapters = prompt.adapter() == null ? new Adapter[0] : new Adapter[] {prompt.adapter()};
        try (PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard();
                ForwardContext context = ForwardContext.inference(Packing.of(whole.length), adapters)) {
            float[] all =
                    Tensors.toFloats(model.outputs(Tokens.of(whole), context).log_softmax(1));
            int vocabulary = model.model().info().vocabulary();
            return IntStream.range(0, fresh.length)
                    .mapToDouble(i ->
                            all[((int) context.rowOf(0, prompt.ids().length + i) - 1) * vocabulary + fresh[i]])
                    .toArray();
        }
    }

    @Test
    void whoWaitsLongestIsLetInFirst() {
        try (Engine engine = engine(16, 6 * BLOCK_BYTES)) {
            Request first = add(engine, prompt(1, 20, null), greedy(40)); // 4 blocks
            Request big = add(engine, prompt(2, 20, null), greedy(70)); // 6
            Request small = add(engine, prompt(3, 2, null), greedy(3)); // 1, for which there would be room
            engine.step();
            assertThat(engine.load())
                    .extracting(Engine.Load::waiting, Engine.Load::promised)
                    .containsExactly(2, 4L);
            while (!first.done()) {
                engine.step();
                assertThat(small.done()).isFalse();
            }
            engine.step();
            assertThat(engine.load())
                    .extracting(Engine.Load::waiting, Engine.Load::promised)
                    .containsExactly(1, 6L);
            engine.run();
            assertThat(big.answers().get(0).ids()).hasSize(70);
            assertThat(small.answers().get(0).ids()).hasSize(3);
        }
    }

    @Test
    void whatCanNeverFitIsRefusedWithNumbers() {
        try (Engine engine = engine(16, 6 * BLOCK_BYTES)) {
            assertThatThrownBy(() -> add(engine, prompt(4, 20, null), greedy(78)))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("prompt 4: keys and values of a sequence with up to 97 rows would take")
                    .hasMessageContaining("the cache may have");
            assertThatThrownBy(() -> add(engine, prompt(4, 20, null), drawn(40, 3)))
                    .hasMessageContaining("3 sequences")
                    .hasMessageContaining("--n, --beams");
            add(engine, prompt(4, 20, null), greedy(77));
            engine.run();
        }
    }

    @Test
    void answersShareThePromptsFullBlocks() {
        try (Engine engine = engine(16, 0)) {
            Request request = add(engine, prompt(1, 40, null), drawn(3, 5));
            engine.step();
            assertThat(engine.load().blocks()).isEqualTo(2 + 5); // 8 of the prompt's rows are copied
            assertThat(engine.load().promised()).isEqualTo(2 + 5);
            engine.run();
            assertThat(request.answers().stream()
                            .map(one -> Arrays.toString(one.ids()))
                            .distinct())
                    .hasSizeGreaterThan(1);
            assertThat(engine.load().blocks()).isZero();
        }
    }

    @Test
    void theFirstOfSeveralAnswersIsTheOnlyOneOfOne() {
        try (Engine engine = engine(16, 0)) {
            Request one = add(engine, prompt(1, 7, null), drawn(12, 1));
            Request five = add(engine, prompt(1, 7, null), drawn(12, 5));
            Request again = add(engine, prompt(1, 7, null), drawn(12, 5));
            engine.run();
            assertThat(five.answers().get(0).ids())
                    .isEqualTo(one.answers().get(0).ids());
            assertSame("the same seed", again.answers(), five.answers());
        }
    }

    @Test
    void blocksThatAPrefixFillsAreSharedAndFreed() {
        Cache.Need need = new Cache.Need(40, new Object(), 10, 12, 1);
        assertThat(need.ofPrefix()).isEqualTo(2);
        assertThat(need.own()).isEqualTo(2); // 8 of the prefix's rows and 12
        try (Cache cache = new Cache(
                model.model().info().output(), org.bytedeco.pytorch.global.torch.ScalarType.Float, Device.CPU, 7)) {
            cache.enter(need);
            assertThat(cache.blocks().promised()).isEqualTo(4);
            cache.enter(need);
            assertThat(cache.blocks().promised()).isEqualTo(6);
            assertThat(cache.fits(need)).isFalse();
            cache.leave(need, need.own());
            cache.leave(need, need.own());
            assertThat(cache.blocks().promised()).isZero();
            assertThat(cache.blocks().taken()).isZero();
        }
    }

    @Test
    void aCancelledRequestMakesRoom() {
        try (Engine engine = engine(1, 0)) {
            Request first = add(engine, prompt(1, 7, null), greedy(50));
            Request second = add(engine, prompt(2, 7, null), greedy(5));
            Request third = add(engine, prompt(3, 7, null), greedy(5));
            engine.step();
            engine.cancel(first);
            engine.cancel(third);
            engine.run();
            assertThat(second.answers().get(0).ids()).hasSize(5);
            assertThatThrownBy(first::answers).hasMessageContaining("was cancelled");
            assertThat(third.done()).isTrue();
            assertThat(engine.load().promised()).isZero();
        }
    }

    @Test
    void nothingIsLeftBehind() throws InterruptedException {
        crowd();
        long before = settledBytes();
        crowd();
        assertThat(Ops.liveBytes()).isEqualTo(before);
    }

    /** What lives when the collector has taken what other tests left. */
    private static long settledBytes() throws InterruptedException {
        long bytes;
        do {
            bytes = Ops.liveBytes();
            System.gc();
            Thread.sleep(50); // tensors are freed by a thread behind it
        } while (Ops.liveBytes() != bytes);
        return bytes;
    }

    private static void crowd() {
        List<Prompt> prompts = prompts();
        try (Engine engine = engine(8, 0)) {
            for (int i = 0; i < 15; i++) {
                add(engine, prompts.get(i), settings(i));
            }
            for (int i = 0; i < 20; i++) {
                engine.step(); // and closed while some go on
            }
        }
    }
}
