package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;

/** Adapters of several methods as plain LoRA. */
class ConvertTest {
    @TempDir
    Path dir;

    private static Path fixture(String name) {
        Path own = Fixtures.ADAPTERS.resolve(name);
        return Files.exists(own)
                ? own
                : Fixtures.ROOT.resolve("methods").resolve(name).resolve("tiny-bert");
    }

    private static float[] logits(Path adapterDirectory) throws Exception {
        Fixtures.Sentences sentences = Fixtures.tinySentences();
        try (HeadedModel model = HeadedModel.open(
                        Fixtures.tinyBert(), ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
                Adapter adapter = AdapterStore.read(adapterDirectory, "it", model.points())
                        .adapter();
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing(), adapter)) {
            return Tensors.toFloats(model.outputs(Tokens.of(sentences.tokens()), context));
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "lora-query-value",
                "lora-patterns",
                "lora-modules-to-save",
                "lora-bias-lora-only",
                "ia3",
                "lora-dora",
                "lora-lora-bias",
                "vera",
                "adalora",
                "osf"
            })
    void withTheWholeRankItIsTheSame(String name) throws Exception {
        Convert.Result result = Convert.toLora(Fixtures.TINY_BERT, fixture(name), dir.resolve("out"), 0, false);
        assertThat(result.error()).isLessThan(1e-5);
        assertThat(AdapterFiles.read(dir.resolve("out")).config()).containsEntry("peft_type", "LORA");
        assertThat(maxDifference(logits(dir.resolve("out")), logits(fixture(name))))
                .isLessThan(1e-4);
    }

    /** Matrices of linear layers become A and B, norms and tables go along as modules to save. */
    @Test
    void aTrainedModelIsToo() throws Exception {
        FullConfig config = FullConfig.defaults().withModulesToSave(List.of("classifier"));
        Path full = dir.resolve("full");
        try (HeadedModel model = HeadedModel.open(
                        Fixtures.tinyBert(), ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
                Adapter adapter = Methods.of(config).attach("it", config, model.points(), 0);
                PointerScope scope = new PointerScope()) {
            adapter.parameters()
                    .values()
                    .forEach(parameter ->
                            parameter.value().detach().add_(Init.normal(7, parameter.path(), 0.05, parameter.shape())));
            AdapterStore.write(full, adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
        }
        assertThat(Convert.toLora(Fixtures.TINY_BERT, full, dir.resolve("out"), 0, false)
                        .error())
                .isLessThan(1e-5);
        assertThat(maxDifference(logits(dir.resolve("out")), logits(full))).isLessThan(1e-4);
    }

    @Test
    void theRankOfALoraIsFound() throws Exception {
        assertThat(Convert.toLora(Fixtures.TINY_BERT, fixture("lora-query-value"), dir.resolve("out"), 0, false)
                        .r())
                .isEqualTo(4);
    }

    @Test
    void asSmallerRankAsLargerError() throws Exception {
        double before = 0;
        for (int rank = 5; rank > 0; rank -= 2) {
            Convert.Result result = Convert.toLora(Fixtures.TINY_BERT, fixture("ia3"), dir.resolve("out"), rank, true);
            assertThat(result.r()).isEqualTo(rank);
            assertThat(result.error()).isBetween(before, 1.0).isGreaterThan(before);
            before = result.error();
            for (double error : result.errors().values()) {
                assertThat(error).isBetween(0.0, 1.0);
            }
        }
    }

    @Test
    void whatIsNoUpdateOfWeightsIsRefused() {
        assertThatThrownBy(() -> Convert.toLora(Fixtures.TINY_BERT, fixture("prefix"), dir.resolve("out"), 4, false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("prefix-tuning adapter cannot be merged");
        assertThatThrownBy(() -> Convert.toLora(Fixtures.TINY_BERT, fixture("ia3"), dir, 4, false))
                .hasMessageContaining("exists");
        assertThatThrownBy(() -> Convert.toLora(Fixtures.TINY_BERT, fixture("ia3"), dir.resolve("out"), -1, false))
                .hasMessageContaining("rank must be");
        assertThatThrownBy(() ->
                        Convert.toLora(Fixtures.TINY_BERT, fixture("trainable-tokens"), dir.resolve("out"), 1, false))
                .hasMessageContaining("no linear layer");
        assertThat(dir.resolve("out")).doesNotExist();
    }
}
