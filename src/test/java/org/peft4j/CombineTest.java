package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.Combination;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;

/** Several adapters as one, beside PEFT's add_weighted_adapter (build-scripts/fixtures/methods.py). */
class CombineTest {
    private static final Path ADAPTERS = Fixtures.ROOT.resolve("methods/combined");
    private static final Map<String, TensorData> EXPECTED = Fixtures.read(ADAPTERS.resolve("expected.safetensors"));

    @TempDir
    Path dir;

    private static Combine three() {
        return Combine.adapters()
                .add(ADAPTERS.resolve("0"), 0.7)
                .add(ADAPTERS.resolve("1"), -0.4)
                .add(ADAPTERS.resolve("2"), 1.1);
    }

    private static float[] logits(Path... adapters) throws Exception {
        Fixtures.Sentences texts =
                Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
        Adapter[] loaded = new Adapter[adapters.length];
        try (HeadedModel model = HeadedModel.open(
                        ModelDirectory.open(Fixtures.TINY_LLAMA),
                        new ModelOptions(false, false, 0),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
                PointerScope scope = new PointerScope()) {
            for (int i = 0; i < loaded.length; i++) {
                loaded[i] =
                        AdapterStore.read(adapters[i], "a" + i, model.points()).adapter();
            }
            try (ForwardContext context = ForwardContext.inference(texts.packing(), loaded)) {
                return Tensors.toFloats(model.outputs(Tokens.of(texts.tokens()), context));
            } finally {
                for (Adapter adapter : loaded) {
                    adapter.close();
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "linear, 0, 1, false",
        "cat, 0, 1, false",
        "svd, 5, 1, false",
        "ties, 0, 0.6, false",
        "ties_svd, 6, 0.5, true",
        "magnitude_prune, 0, 0.4, false",
        "magnitude_prune_svd, 4, 0.7, false"
    })
    void logitsEqualPefts(String type, int rank, double density, boolean most) throws Exception {
        three().by(Combination.valueOf(type.toUpperCase(Locale.ROOT)))
                .rank(rank)
                .density(density)
                .signOfMost(most)
                .write(dir.resolve("out"), false);
        assertThat(maxDifference(logits(dir.resolve("out")), EXPECTED.get(type).toFloats()))
                .isLessThan(1e-4);
    }

    /** As many as there are values in all, and with a weight of 1, cat is what both adapters do together. */
    @Test
    void oneBehindTheOtherTheyAddUp() throws Exception {
        Combine.adapters()
                .add(ADAPTERS.resolve("0"), 1)
                .add(ADAPTERS.resolve("1"), 1)
                .by(Combination.CAT)
                .write(dir.resolve("out"), false);
        assertThat(maxDifference(logits(dir.resolve("out")), logits(ADAPTERS.resolve("0"), ADAPTERS.resolve("1"))))
                .isLessThan(1e-4);
    }

    /** What is left out is drawn by the seed; what is kept is enlarged. */
    @ParameterizedTest
    @EnumSource(
            value = Combination.class,
            names = {"DARE_LINEAR", "DARE_TIES", "DARE_LINEAR_SVD", "DARE_TIES_SVD"})
    void randomValuesFollowTheSeed(Combination type) throws Exception {
        float[][] logits = new float[3][];
        for (int i = 0; i < 3; i++) {
            three().by(type).density(0.5).seed(i / 2).write(dir.resolve("out"), true);
            logits[i] = logits(dir.resolve("out"));
        }
        assertThat(logits[0]).isEqualTo(logits[1]);
        assertThat(maxDifference(logits[0], logits[2])).isGreaterThan(1e-2);
        three().by(type).density(1 - 1e-9).write(dir.resolve("all"), false);
        String same = type.name().contains("TIES") ? "ties" : type.ofUpdates() ? "svd" : "linear";
        if (type == Combination.DARE_LINEAR) { // nothing left out: the plain sum
            assertThat(maxDifference(
                            logits(dir.resolve("all")), EXPECTED.get(same).toFloats()))
                    .isLessThan(1e-4);
        }
    }

    @Test
    void whatDoesNotFitIsRefused() {
        Path out = dir.resolve("out");
        assertThatThrownBy(() -> Combine.adapters().write(out, false)).hasMessageContaining("at least one");
        assertThatThrownBy(() -> three().by(Combination.TIES).write(out, false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("density must be below 1");
        assertThatThrownBy(() -> three().by(Combination.CAT).rank(3).write(out, false))
                .hasMessageContaining("rank is for types");
        assertThatThrownBy(() -> three().density(0.5).write(out, false)).hasMessageContaining("density is for");
        assertThatThrownBy(() -> three().density(0)).hasMessageContaining("above 0");
        assertThatThrownBy(
                        () -> three().add(Fixtures.ADAPTERS.resolve("ia3"), 1).write(out, false))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("IA3");
        assertThatThrownBy(() -> three().by(Combination.LINEAR)
                        .add(Fixtures.TINY_LLAMA.resolve("bare-lora"), 1)
                        .add(Fixtures.TINY_LLAMA.resolve("bare-saved"), 1)
                        .write(out, false))
                .hasMessageContaining("needs adapters of one rank");
        assertThatThrownBy(() -> Combine.adapters()
                        .add(Fixtures.ADAPTERS.resolve("bare-lora"), 1)
                        .add(Fixtures.ADAPTERS.resolve("lora-query-value"), 1)
                        .write(out, false))
                .hasMessageContaining("are one module");
        assertThatThrownBy(() -> Combine.adapters()
                        .add(Fixtures.ADAPTERS.resolve("lora-query-value"), 1)
                        .add(Fixtures.ADAPTERS.resolve("lora-all-linear-rslora"), 1)
                        .write(out, false))
                .hasMessageContaining("classifier")
                .hasMessageContaining("as a whole");
        assertThatThrownBy(() -> three().add(Fixtures.ADAPTERS.resolve("lora-bias-all"), 1)
                        .write(out, false))
                .hasMessageContaining("bias");
        assertThat(out).doesNotExist();
    }
}
