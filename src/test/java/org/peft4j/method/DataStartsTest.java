package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.CordaConfig;
import org.peft4j.method.lora.DataStart;
import org.peft4j.method.lora.EvaConfig;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraGaConfig;
import org.peft4j.method.spi.Calibration;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;

/** LoRA's starts from data: what PEFT's own EVA, CorDA and LoRA-GA make of the same texts (build-scripts/fixtures/data_starts.py). */
class DataStartsTest {
    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
    private static final Map<String, TensorData> EXPECTED =
            Fixtures.read(Fixtures.ROOT.resolve("methods/data-starts.safetensors"));
    private static final String[] TARGETS = {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"};
    private static final int NOT_LEARNT = 2;

    private static HeadedModel llama;

    @TempDir
    Path directory;

    @BeforeAll
    static void open() throws Exception {
        llama = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
    }

    @AfterAll
    static void close() {
        llama.close();
    }

    private static LoraConfig.Builder lora(InitLora init, int r, double alpha) {
        return LoraConfig.builder().r(r).alpha(alpha).targets(TARGETS).init(init);
    }

    private static LoraConfig ofEva(String name) {
        return switch (name) {
            case "eva" -> lora(InitLora.EVA, 4, 6).build();
            case "eva-all" ->
                lora(InitLora.EVA, 3, 5)
                        .rslora(true)
                        .excludeModules(Targets.names("k_proj", "v_proj"))
                        .rankPattern(Map.of("up_proj", 5))
                        .alphaPattern(Map.of("down_proj", 9.0))
                        .dataStart(DataStart.defaults().withEva(new EvaConfig(1.5, 0.99, false, true, false)))
                        .build();
            default ->
                lora(InitLora.EVA, 3, 3)
                        .dataStart(DataStart.defaults().withEva(new EvaConfig(1, 0.9, false, false, true)))
                        .build();
        };
    }

    private static LoraConfig ofCorda(String name) {
        return name.equals("corda")
                ? lora(InitLora.CORDA, 4, 6).build()
                : lora(InitLora.CORDA, 3, 4)
                        .rslora(true)
                        .rankPattern(Map.of("up_proj", 5))
                        .dataStart(DataStart.defaults().withCorda(new CordaConfig(CordaConfig.Choice.KPM)))
                        .build();
    }

    private static LoraConfig.Builder ga(
            int r, double alpha, LoraGaConfig.Direction direction, LoraGaConfig.Scale scale) {
        return lora(InitLora.LORA_GA, r, alpha)
                .dataStart(DataStart.defaults().withLoraGa(new LoraGaConfig(direction, scale, 16)));
    }

    private static LoraConfig ofLoraGa(String name) {
        return switch (name) {
            case "lora-ga" -> lora(InitLora.LORA_GA, 4, 6).build();
            case "lora-ga-weight" ->
                ga(3, 4, LoraGaConfig.Direction.A2R_BR, LoraGaConfig.Scale.WEIGHT_SVD)
                        .rankPattern(Map.of("up_proj", 5))
                        .build();
            case "lora-ga-gd" ->
                ga(3, 6, LoraGaConfig.Direction.AR_BR, LoraGaConfig.Scale.GD_SCALE)
                        .rslora(true)
                        .build();
            default ->
                ga(2, 1, LoraGaConfig.Direction.AR_B2R, LoraGaConfig.Scale.UNIT).build();
        };
    }

    private static Calibration<LoraConfig> look(LoraConfig config) {
        return Methods.of(config).calibration(config, llama.points(), 3).orElseThrow();
    }

    /** Texts [first, last) by themselves. */
    private static Fixtures.Sentences some(int first, int last) {
        Packing packing = TEXTS.packing();
        return new Fixtures.Sentences(
                Arrays.copyOfRange(TEXTS.tokens(), (int) packing.begin(first), (int) packing.end(last - 1)),
                IntStream.range(first, last).map(packing::length).toArray());
    }

    private static boolean[] learnt(Fixtures.Sentences texts) {
        boolean[] learnt = new boolean[texts.tokens().length];
        for (int s = 0; s < texts.packing().sequences(); s++) {
            for (int i = NOT_LEARNT; i < texts.packing().length(s); i++) {
                learnt[(int) texts.packing().begin(s) + i] = true;
            }
        }
        return learnt;
    }

    private static void forward(Calibration<?> look, Fixtures.Sentences texts) {
        look.before(texts.packing(), learnt(texts));
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(texts.packing(), look.observer())) {
            BlockRunner.plain().forward(llama.model(), Tokens.of(texts.tokens()), ReadRows.ALL, context);
        }
    }

    private static void back(Calibration<?> look, Fixtures.Sentences texts, BlockRunner blocks) {
        look.before(texts.packing(), learnt(texts));
        LanguageTraining.backward(llama, look.observer(), texts, blocks, 0);
    }

    private static float[] logits(Adapter... adapters) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(TEXTS.packing(), adapters)) {
            Tensor h = BlockRunner.plain().forward(llama.model(), Tokens.of(TEXTS.tokens()), ReadRows.TEXT, context);
            return Tensors.toFloats(llama.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    private static void trainsAsPefts(String name, Adapter adapter) {
        assertThat(maxDifference(logits(adapter), logits()))
                .as("a start changes nothing")
                .isLessThan(1e-4);
        LanguageTraining.lossesEqualPefts(llama, adapter, TEXTS, Map.of("losses", EXPECTED.get(name + ".losses")));
        TensorData behind = EXPECTED.get(name + ".logits");
        if (behind != null) {
            assertThat(maxDifference(logits(adapter), behind.toFloats())).isLessThan(2e-3);
        }
    }

    /** Ranks and directions, but for their signs. */
    private static void beginsAsPefts(String name, Calibration.Started<LoraConfig> started) {
        Map<String, Long> ranks = new TreeMap<>();
        started.adapter().parameters().forEach((path, parameter) -> {
            if (path.endsWith(".lora_A.weight")) {
                ranks.put(path.replace(".lora_A.weight", ""), parameter.shape()[0]);
            } else {
                assertThat(Tensors.toFloats(parameter.value())).as(path).containsOnly(0);
            }
        });
        Map<String, Long> theirs = new TreeMap<>();
        EXPECTED.forEach((key, data) -> {
            if (key.startsWith(name + ".A.")) {
                theirs.put(key.substring(name.length() + 3), data.shape().get(0));
            }
        });
        assertThat(ranks).isEqualTo(theirs);
        theirs.forEach((module, rank) -> {
            float[] own = Tensors.toFloats(started.adapter()
                    .parameters()
                    .get(module + ".lora_A.weight")
                    .value());
            float[] other = EXPECTED.get(name + ".A." + module).toFloats();
            int width = own.length / rank.intValue();
            for (int row = 0; row < rank; row++) {
                double plus = 0;
                double minus = 0;
                for (int i = row * width; i < (row + 1) * width; i++) {
                    plus = Math.max(plus, Math.abs(own[i] - other[i]));
                    minus = Math.max(minus, Math.abs(own[i] + other[i]));
                }
                assertThat(Math.min(plus, minus)).as(module + " " + row).isLessThan(1e-3);
            }
        });
    }

    @ParameterizedTest
    @ValueSource(strings = {"eva", "eva-all", "eva-batches"})
    void evaBeginsAsPefts(String name) {
        try (Calibration<LoraConfig> look = look(ofEva(name))) {
            int batches = 0;
            while (!look.enough()) { // as PEFT does, from the first row again and again
                forward(look, !name.equals("eva-batches") ? TEXTS : batches % 2 == 0 ? some(3, 5) : some(0, 3));
                batches++;
            }
            assertThat(batches).as("batches").isGreaterThan(1);
            Calibration.Started<LoraConfig> started = look.attach(name);
            try (Adapter adapter = started.adapter()) {
                beginsAsPefts(name, started);
                assertThat(started.notes()).hasSize(1);
                if (!name.equals("eva-batches")) {
                    trainsAsPefts(name, adapter);
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"corda", "corda-kpm"})
    void cordaBeginsAsPefts(String name) {
        try (Calibration<LoraConfig> look = look(ofCorda(name))) {
            forward(look, some(0, 2)); // in which batches texts come does not matter
            forward(look, some(2, 5));
            try (Adapter adapter = look.attach(name).adapter()) {
                trainsAsPefts(name, adapter);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"lora-ga", "lora-ga-weight", "lora-ga-gd", "lora-ga-unit"})
    void loraGaBeginsAsPefts(String name) {
        boolean recomputed = name.equals("lora-ga-unit");
        try (Calibration<LoraConfig> look = look(ofLoraGa(name));
                RecomputedBlocks first = new RecomputedBlocks();
                RecomputedBlocks second = new RecomputedBlocks()) {
            assertThat(look.needsGradient()).isTrue();
            back(look, some(0, 2), recomputed ? first : BlockRunner.plain());
            back(look, some(2, 5), recomputed ? second : BlockRunner.plain());
            try (Adapter adapter = look.attach(name).adapter()) {
                trainsAsPefts(name, adapter);
            }
        }
    }
}
