package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;

/** Every adapter of build-scripts/fixtures/methods.py: what PEFT computes with it, is computed here, and written back as it came. */
class PeftMethodsTest {
    private static final Path ROOT = Fixtures.ROOT.resolve("methods");
    private static final ModelOptions OPTIONS = new ModelOptions(false, false, 0);
    private static final Fixtures.Sentences MAILS = Fixtures.tinySentences();
    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));

    private static HeadedModel bert;
    private static HeadedModel llama;

    @TempDir
    Path directory;

    @BeforeAll
    static void open() throws Exception {
        bert = HeadedModel.open(Fixtures.tinyBert(), OPTIONS, HeadKind.SEQUENCE, HeadOptions.of(2));
        llama = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA), OPTIONS, HeadKind.LANGUAGE, HeadOptions.of(0));
    }

    @AfterAll
    static void close() {
        bert.close();
        llama.close();
    }

    static List<String> adapters() throws IOException {
        try (Stream<Path> found = Files.walk(ROOT, 2)) {
            return found.filter(path -> Files.exists(path.resolve(AdapterFiles.CONFIG))
                            && !path.getParent().endsWith("combined"))
                    .map(path -> ROOT.relativize(path).toString())
                    .sorted()
                    .toList();
        }
    }

    static List<String> ofLanguage() throws IOException {
        return adapters().stream().filter(name -> name.endsWith("llama")).toList();
    }

    private static HeadedModel model(String name) {
        return name.endsWith("llama") ? llama : bert;
    }

    private static AdapterStore.Loaded load(String name) throws Exception {
        return AdapterStore.read(ROOT.resolve(name), name, model(name).points());
    }

    private static Map<String, TensorData> expected(String name) {
        return Fixtures.read(ROOT.resolve(name).resolve("expected.safetensors"));
    }

    private static float[] logits(String name, HeadedModel model, Adapter... adapters) {
        Fixtures.Sentences texts = name.endsWith("llama") ? TEXTS : MAILS;
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(texts.packing(), adapters)) {
            if (!name.endsWith("llama")) {
                return Tensors.toFloats(model.outputs(Tokens.of(texts.tokens()), context));
            }
            Tensor h = BlockRunner.plain().forward(model.model(), Tokens.of(texts.tokens()), ReadRows.TEXT, context);
            return Tensors.toFloats(model.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    @ParameterizedTest
    @MethodSource("adapters")
    void logitsEqualPefts(String name) throws Exception {
        AdapterStore.Loaded loaded = load(name);
        try (Adapter adapter = loaded.adapter()) {
            assertThat(loaded.notes()).isEmpty();
            float[] ours = logits(name, model(name), adapter);
            assertThat(maxDifference(ours, expected(name).get("logits").toFloats()))
                    .isLessThan(1e-4);
            assertThat(maxDifference(ours, logits(name, model(name)))).isGreaterThan(1e-2);
        }
    }

    @ParameterizedTest
    @MethodSource("adapters")
    void mergedItIsTheSame(String name) throws Exception {
        AdapterStore.Loaded loaded = load(name);
        try (Adapter adapter = loaded.adapter();
                PointerScope scope = new PointerScope()) {
            if (Methods.of(loaded.config()).mergeRefusal().isPresent()) {
                return; // MethodContractTest says how
            }
            if (name.equals("lora-lora-bias/tiny-llama")) {
                assertThatThrownBy(() -> Methods.of(loaded.config()).merged(adapter, llama.points()))
                        .hasMessageContaining("bias of model.layers.0")
                        .hasMessageContaining("cannot be merged");
                return;
            }
            float[] unmerged = logits(name, model(name), adapter);
            try (HeadedModel merged = model(name)
                    .withTensors(Methods.of(loaded.config())
                            .merged(adapter, model(name).points()))) {
                assertThat(maxDifference(logits(name, merged), unmerged)).isLessThan(1e-4);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("adapters")
    void itIsWrittenBackAsItCame(String name) throws Exception {
        AdapterStore.Loaded loaded = load(name);
        AdapterFile theirs = AdapterFiles.read(ROOT.resolve(name));
        try (Adapter adapter = loaded.adapter()) {
            AdapterStore.write(
                    directory,
                    adapter,
                    loaded.config(),
                    model(name).points(),
                    String.valueOf(theirs.config().get("base_model_name_or_path")),
                    String.valueOf(theirs.config().get("task_type")));
        }
        AdapterFile ours = AdapterFiles.read(directory);
        assertThat(new TreeMap<>(ours.tensors()))
                .containsOnlyKeys(theirs.tensors().keySet());
        theirs.tensors().forEach((key, data) -> {
            assertThat(ours.tensors().get(key).bytes()).as(key).isEqualTo(data.bytes());
            assertThat(ours.tensors().get(key).shape()).as(key).isEqualTo(data.shape());
        });
        Map<String, Object> known = new TreeMap<>(theirs.config());
        known.remove("peft_version");
        Map<String, Object> written = new TreeMap<>(ours.config());
        written.remove("peft_version");
        assertThat(written.keySet())
                .as("PEFT knows every key, and finds its own")
                .isEqualTo(known.keySet());
        known.forEach(
                (key, value) -> assertThat(PeftFilesTest.normal(ours.config().get(key)))
                        .as(key)
                        .isEqualTo(PeftFilesTest.normal(value)));
    }

    @ParameterizedTest
    @MethodSource("ofLanguage")
    void gradientsAndLossesEqualPefts(String name) throws Exception {
        Map<String, TensorData> expected = expected(name);
        try (Adapter adapter = load(name).adapter()) {
            LanguageTraining.firstStepEqualsPefts(llama, adapter, TEXTS, BlockRunner.plain(), expected);
            LanguageTraining.clearGradients(adapter);
        }
        try (Adapter adapter = load(name).adapter()) {
            LanguageTraining.lossesEqualPefts(llama, adapter, TEXTS, expected);
        }
    }

    /** A part of W is trained: losses of five steps, and the logits behind them, equal PEFT's, which changes W itself. */
    @ParameterizedTest
    @EnumSource(
            value = InitLora.class,
            names = {"PISSA", "OLORA"})
    void startsFromTheWeightEqualPefts(InitLora init) {
        Map<String, TensorData> expected = Fixtures.read(ROOT.resolve("starts.safetensors"));
        String name = init.name().toLowerCase(Locale.ROOT);
        LoraConfig config = LoraConfig.builder()
                .r(4)
                .alpha(6)
                .targets("q_proj", "v_proj", "up_proj")
                .rslora(init == InitLora.OLORA)
                .rankPattern(init == InitLora.PISSA ? Map.of("up_proj", 7) : Map.of())
                .init(init)
                .build();
        try (Adapter adapter = Methods.of(config).attach(name, config, llama.points(), 3)) {
            LanguageTraining.lossesEqualPefts(llama, adapter, TEXTS, Map.of("losses", expected.get(name + ".losses")));
            assertThat(maxDifference(
                            logits("llama", llama, adapter),
                            expected.get(name + ".logits").toFloats()))
                    .isLessThan(2e-3);
        }
    }
}
