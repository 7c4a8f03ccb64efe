package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.dept.DeptConfig;
import org.peft4j.method.ept.EptConfig;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.PromptSource;
import org.peft4j.method.multitask.SourceTasks;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.ptuning.Encoder;
import org.peft4j.method.ptuning.PTuningConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;

/** Prompts on tiny-bert: the fixtures of build-scripts/fixtures/prompts.py, and what is refused. */
class PromptsOfBertTest extends WithTinyBert {
    private static final Path ROOT = Fixtures.ROOT.resolve("prompts");

    @TempDir
    Path dir;

    private <C extends MethodConfig> Adapter attach(C config) {
        return Methods.of(config).attach("a", config, model.points(), 0);
    }

    private void refuses(MethodConfig config, String message) {
        assertThatThrownBy(() -> attach(config).close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(message);
    }

    @ParameterizedTest
    @ValueSource(strings = {"bert-text", "bert-multitask"})
    void logitsArePefts(String name) throws Exception {
        MethodConfig second = new MultitaskPromptConfig(
                3, PromptStart.RANDOM, new MultitaskPromptConfig.Factors(3, 1, 1), PromptSource.NONE, List.of());
        AdapterFile file = AdapterFiles.read(ROOT.resolve(name));
        try (Adapter adapter =
                AdapterStore.read(file, name, model.points(), second).adapter()) {
            float[] expected = Fixtures.read(ROOT.resolve(name).resolve("expected.safetensors"))
                    .get("logits")
                    .toFloats();
            assertThat(maxDifference(logits(model, adapter), expected)).isLessThan(1e-5);
        }
    }

    @Test
    void aPromptBeginsWithTheWordsThatPeftReads() throws Exception {
        PromptConfig config = new PromptConfig(9, PromptStart.text("Is this mail wanted?"), List.of());
        try (TextTokenizer tokenizer = TextTokenizer.open(Fixtures.tinyBert(), 4)) {
            PromptConfig told = Methods.of(config)
                    .inTokens(
                            config,
                            text -> Arrays.stream(tokenizer.encodeWhole(text))
                                    .boxed()
                                    .toList());
            try (Adapter adapter = attach(told)) {
                assertThat(Tensors.toFloats(
                                adapter.parameters().get("prompt_embeddings").value()))
                        .isEqualTo(Fixtures.read(ROOT.resolve("bert-text").resolve("expected.safetensors"))
                                .get("start")
                                .toFloats());
            }
        }
    }

    @Test
    void theNumbersOfDeptAreThoseOfALongerPrompt() {
        // The paper's settings for T5-base: 100 rows of 768 numbers, texts of 256 tokens, and of 512.
        for (int[] numbers : new int[][] {{80, 15, 256}, {60, 30, 256}, {40, 45, 256}, {60, 24, 512}}) {
            assertThat(numbers[0] * 768 + numbers[1] * (numbers[2] + 768)).isEqualTo(76_800);
        }
        DeptConfig config = new DeptConfig(4, PromptStart.RANDOM, 3, 8, 50, List.of());
        Method<DeptConfig> method = Methods.of(config);
        long width = model.points().hiddenSize();
        assertThat(method.parameterCount(config, model.points())).isEqualTo(4 * width + 3 * (50 + width));
    }

    @Test
    void eptIsAPromptAtFirst() {
        PromptConfig prompt = PromptConfig.of(4);
        try (Adapter ept =
                        attach(new EptConfig(4, PromptStart.RANDOM, 2, 60, new EptConfig.Network(5, 3, 4), List.of()));
                Adapter plain = attach(prompt)) {
            assertThat(maxDifference(logits(model, ept), logits(model, plain))).isLessThan(1e-6);
        }
    }

    @Test
    void settingsThatDoNotDoAreRefused() {
        assertThatThrownBy(() -> PromptConfig.of(0)).hasMessage("virtualTokens must be at least 1, got 0");
        assertThatThrownBy(() -> new DeptConfig(0, PromptStart.RANDOM, 2, 8, 40, List.of()))
                .hasMessage("virtualTokens must be at least 1, got 0");
        assertThatThrownBy(() -> new DeptConfig(2, PromptStart.RANDOM, 0, 8, 40, List.of()))
                .hasMessage("r must be 1 to 65536, got 0");
        assertThatThrownBy(() -> new EptConfig(2, PromptStart.RANDOM, 2, 60, new EptConfig.Network(4, 0, 4), List.of()))
                .hasMessage("spaces must be 1 to 1024, got 0");
        assertThatThrownBy(() -> new PromptStart(PromptInit.TEXT, " ", List.of()))
                .hasMessageContaining("initText must say the text");
        assertThatThrownBy(() -> new PromptStart(PromptInit.RANDOM, "words", List.of()))
                .hasMessageContaining("initText is for init: text, but init is random");
        assertThatThrownBy(() -> new MultitaskPromptConfig(
                        2,
                        PromptStart.RANDOM,
                        new MultitaskPromptConfig.Factors(3, 1, 3),
                        PromptSource.NONE,
                        List.of()))
                .hasMessage("task must be 0 to 2, one of the 3 tasks, got 3");
        assertThatThrownBy(() -> new PromptSource(SourceTasks.EXACT, null, 0))
                .hasMessageContaining("sourcePath must say the adapter");
        assertThatThrownBy(() -> CptConfig.of(List.of(1, 2), List.of(1)))
                .hasMessage("tokenTypes must have one type for each of the 2 promptTokens, got 1");
        refuses(CptConfig.defaults(), "prompt_tokens must have at least one token");
        refuses(CptConfig.of(List.of(1, 2), List.of(1, 2)), "token_types must end with the type of a label");
        refuses(CptConfig.of(List.of(1, 2), List.of(0, 4)), "token_types must have a token that may move");
        refuses(CptConfig.of(List.of(1, 2000), List.of(2, 4)), "prompt_tokens must be below");
        refuses(
                new PromptConfig(2, PromptStart.text("a").withTokens(List.of(99_999)), List.of()),
                "init_tokens must be below");
        refuses(
                new PTuningConfig(2, Encoder.MLP, 8, 3, 0, List.of()),
                "encoder_layers and encoder_dropout are of an LSTM");
    }

    @Test
    void wordsThatWereSaidHaveToBeTheTexts() {
        PromptConfig both = new PromptConfig(2, PromptStart.text("a").withTokens(List.of(5)), List.of());
        assertThatThrownBy(() -> Methods.of(both).inTokens(both, text -> List.of(6, 7)))
                .hasMessageContaining("init_tokens must be those of init_text, [6, 7]")
                .hasMessageContaining("got [5]");
    }

    @Test
    void filesThatDoNotFitAreRefused() throws Exception {
        DeptConfig config = new DeptConfig(3, PromptStart.RANDOM, 2, 8, 40, List.of("classifier"));
        try (Adapter adapter = attach(config)) {
            AdapterStore.write(dir, adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
        }
        AdapterFile file = AdapterFiles.read(dir);
        for (Map.Entry<String, Object> wrong : Map.<String, Object>of(
                        "max_length", 41,
                        "r", 3,
                        "num_virtual_tokens", 4,
                        "hidden_size", 7,
                        "bias", "all",
                        "load_lora_embedding_B", false)
                .entrySet()) {
            Map<String, Object> keys = new java.util.LinkedHashMap<>(file.config());
            keys.put(wrong.getKey(), wrong.getValue());
            AdapterFiles.write(dir, keys, List.<TensorData>copyOf(file.tensors().values()));
            assertThatThrownBy(() -> AdapterStore.read(dir, "wrong", model.points()))
                    .as(wrong.getKey())
                    .isInstanceOf(MalformedFileException.class);
        }
    }
}
