package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.params.provider.Arguments.arguments;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.error.MalformedFileException;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.iapt.PromptInsertion;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.reft.ReftConfig.NonLinearity;
import org.peft4j.method.reft.ReftLayers;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Block;
import org.peft4j.nn.BlockClaims;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.BlockPoint;
import org.peft4j.nn.seam.BlockUpdate;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValueCache;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Device;

/** ReFT: its formula in double and with torch's R, which rows it edits, its files, what it refuses. */
class ReftTest extends WithTinyBert {
    private static final int D = 8;
    private static final String PATH = "block.0";
    private static final BlockPoint POINT = new BlockPoint(PATH, 0, D);
    private static final Points POINTS =
            new Points("small", "Small", D, 1, 2, List.of(), List.of(), Map.of(), List.of()).and(List.of(POINT));
    private static final ReftConfig USUAL = ReftConfig.builder().dropout(0).build();

    @TempDir
    Path directory;

    private static Adapter random(MethodConfig config, Points points, long seed) {
        Adapter adapter = Methods.of(config).attach("a" + seed, config, points, seed);
        for (Parameter parameter : adapter.parameters().values()) {
            try (PointerScope scope = new PointerScope()) {
                parameter.set(Tensors.toFloats(
                        parameter.value().add(Init.normal(seed, parameter.path(), 0.3, parameter.shape()))));
            }
        }
        return adapter;
    }

    static Stream<Arguments> formulas() {
        Map<String, ReftConfig> configs = new LinkedHashMap<>();
        configs.put("loreft", USUAL);
        configs.put("loreft 4", USUAL.toBuilder().r(4).positions(2, 2).build());
        configs.put(
                "tied", USUAL.toBuilder().r(2).positions(1, 2).tiedWeights(true).build());
        for (NonLinearity g : NonLinearity.values()) {
            configs.put(
                    "noreft " + g,
                    ReftConfig.noreft().toBuilder()
                            .dropout(0)
                            .r(3)
                            .nonLinearity(g)
                            .build());
        }
        configs.put(
                "direft",
                ReftConfig.direft().toBuilder().dropout(0).positions(0, 3).build());
        return configs.entrySet().stream()
                .flatMap(
                        entry -> Stream.of("bert", "llama").map(of -> arguments(of, entry.getKey(), entry.getValue())));
    }

    /** Behind each block of both families: edited rows are the formula's, the others have the bits of the block. */
    @ParameterizedTest(name = "{0}, {1}")
    @MethodSource("formulas")
    void editedRowsAreTheFormulasAndOthersTheBlocks(String family, String name, ReftConfig config) throws Exception {
        try (HeadedModel llama = llama();
                PointerScope scope = new PointerScope()) {
            HeadedModel of = family.equals("bert") ? model : llama;
            Packing texts = Packing.of(7, 2, 5);
            try (Adapter adapter = random(config, of.points(), 3);
                    ForwardContext plain = ForwardContext.inference(texts);
                    ForwardContext context = ForwardContext.inference(texts, adapter)) {
                Tensor h = Init.normal(1, "h", 1, 14, of.points().hiddenSize());
                for (Block block : of.model().blocks()) {
                    Tensor base = block.forward(h, ReadRows.ALL, plain);
                    Tensor own = BlockClaims.forward(block, h, ReadRows.ALL, context);
                    for (int s = 0, row = 0; s < 3; s++) {
                        for (int i = 0; i < texts.length(s); i++, row++) {
                            int unit = unit(config, i, texts.length(s));
                            float[] is = Tensors.toFloats(own.select(0, row));
                            float[] was = Tensors.toFloats(base.select(0, row));
                            if (unit < 0) {
                                assertThat(is).as("text %s, row %s", s, i).isEqualTo(was);
                            } else {
                                assertFormula(config, adapter, block.point().path(), unit, was, is);
                            }
                        }
                    }
                }
            }
        }
    }

    private static HeadedModel llama() throws Exception {
        return HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
    }

    /** Which unit edits a row; -1: none. */
    private static int unit(ReftConfig config, int place, int length) {
        if (place >= length - config.suffixPositions()) {
            return config.tiedWeights() ? 0 : 1;
        }
        return place < config.prefixPositions() ? 0 : -1;
    }

    private static void assertFormula(
            ReftConfig config, Adapter adapter, String block, int unit, float[] h, float[] is) {
        String path = block + ".reft_layer.units." + unit;
        Map<String, double[]> values = new LinkedHashMap<>();
        adapter.parameters().forEach((own, parameter) -> values.put(own, doubles(parameter.value())));
        double[] w = values.get(path + ".learned_source.weight");
        double[] c = values.get(path + ".learned_source.bias");
        int width = h.length;
        double[] r = config.orthogonality()
                ? orthonormal(
                        values.get(path + ".projection.parametrizations.weight.original"),
                        doubles(adapter.constants()
                                .get(path + ".projection.parametrizations.weight.0.base_vectors")
                                .value()),
                        config.r(),
                        width)
                : values.get(path + ".projection.weight");
        for (int i = 0; i < width; i++) {
            double expected = h[i];
            for (int k = 0; k < config.r(); k++) {
                double source = c[k];
                double projected = 0;
                for (int j = 0; j < width; j++) {
                    source += w[k * width + j] * h[j];
                    projected += r[k * width + j] * h[j];
                }
                double target = g(config.nonLinearity(), source) - (config.subtractProjection() ? projected : 0);
                expected += target * r[k * width + i];
            }
            assertThat((double) is[i]).as("element " + i).isCloseTo(expected, within(2e-5));
        }
    }

    /** Rᵀ = B Q, reflection by reflection. */
    private static double[] orthonormal(double[] original, double[] base, int r, int width) {
        double[] rows = new double[r * width];
        for (int k = 0; k < r; k++) {
            double[] column = new double[width];
            column[k] = 1;
            for (int j = r - 1; j >= 0; j--) {
                double[] v = new double[width];
                for (int i = j; i < width; i++) {
                    v[i] = i == j ? 1 : original[j * width + i];
                }
                reflect(column, v);
            }
            for (int i = 0; i < width; i++) {
                column[i] *= Math.signum(original[k * width + k]);
            }
            for (int j = r - 1; j >= 0; j--) {
                reflect(column, Arrays.copyOfRange(base, j * width, (j + 1) * width));
            }
            System.arraycopy(column, 0, rows, k * width, width);
        }
        return rows;
    }

    private static void reflect(double[] x, double[] v) {
        double squares = 0;
        double product = 0;
        for (int i = 0; i < x.length; i++) {
            squares += v[i] * v[i];
            product += v[i] * x[i];
        }
        for (int i = 0; i < x.length; i++) {
            x[i] -= 2 * product / squares * v[i];
        }
    }

    private static double g(NonLinearity of, double x) {
        return switch (of) {
            case NONE -> x;
            case RELU -> Math.max(0, x);
            case GELU -> {
                if (Math.abs(x) > 6) {
                    yield Math.max(0, x);
                }
                double term = x / Math.sqrt(2);
                double sum = term;
                for (int n = 1; n < 80; n++) {
                    term *= -x * x / 2 / n;
                    sum += term / (2 * n + 1);
                }
                yield 0.5 * x * (1 + 2 / Math.sqrt(Math.PI) * sum);
            }
            case SWISH -> x / (1 + Math.exp(-x));
            case TANH -> Math.tanh(x);
        };
    }

    private static double[] doubles(Tensor t) {
        float[] floats = Tensors.toFloats(t);
        return IntStream.range(0, floats.length).mapToDouble(i -> floats[i]).toArray();
    }

    /** A file with torch's tensors does what torch does, and has its gradients. */
    @ParameterizedTest
    @ValueSource(strings = {"loreft", "noreft", "direft"})
    void editsAndGradientsAreTorchs(String name) throws Exception {
        Map<String, TensorData> torchs = Fixtures.read(Fixtures.ROOT.resolve("reft.safetensors"));
        String unit = PATH + ".reft_layer.units.0.";
        String rows =
                unit + (name.equals("loreft") ? "projection.parametrizations.weight.original" : "projection.weight");
        Map<String, String> paths = new LinkedHashMap<>();
        paths.put(unit + "learned_source.weight", "weight");
        paths.put(unit + "learned_source.bias", "bias");
        paths.put(rows, "rows");
        List<TensorData> tensors = new ArrayList<>();
        paths.forEach((path, own) -> tensors.add(renamed(torchs.get(name + "." + own), path)));
        if (name.equals("loreft")) {
            tensors.add(renamed(
                    torchs.get("loreft.base_vectors"), unit + "projection.parametrizations.weight.0.base_vectors"));
        }
        AdapterFiles.write(
                directory,
                Map.of(
                        "peft_type",
                        "REFT",
                        "r",
                        3,
                        "prefix_positions",
                        5,
                        "orthogonality",
                        name.equals("loreft"),
                        "subtract_projection",
                        !name.equals("direft"),
                        "non_linearity",
                        name.equals("noreft") ? "tanh" : "none"),
                tensors);
        try (Adapter adapter = AdapterStore.read(directory, "torch's", POINTS).adapter();
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(5), adapter)) {
            Tensor h = Tensors.ofFloats(torchs.get("h").toFloats(), 5, D).requires_grad_(true);
            Tensor out = applied(h, ReadRows.ALL, context);
            assertThat(maxDifference(
                            Tensors.toFloats(out), torchs.get(name + ".out").toFloats()))
                    .isLessThan(1e-5);
            out.mul(h.detach()).sum().backward();
            assertThat(maxDifference(
                            Tensors.toFloats(h.grad()),
                            torchs.get(name + ".gradient.h").toFloats()))
                    .isLessThan(1e-4);
            paths.forEach((path, own) -> assertThat(maxDifference(
                            Tensors.toFloats(
                                    adapter.parameters().get(path).value().grad()),
                            torchs.get(name + ".gradient." + own).toFloats()))
                    .as(path)
                    .isLessThan(2e-4));
        }
    }

    private static TensorData renamed(TensorData data, String path) {
        return TensorData.ofFloats("base_model.model." + path, data.shape(), data.toFloats());
    }

    /** A block that gives what it reads. */
    private static final Block NOTHING = new Block() {
        @Override
        public BlockPoint point() {
            return POINT;
        }

        @Override
        public Tensor forward(Tensor h, ReadRows rows, ForwardContext context) {
            return rows.select(h, context);
        }
    };

    private static Tensor applied(Tensor h, ReadRows rows, ForwardContext context) {
        return BlockClaims.forward(NOTHING, h, rows, context);
    }

    /** Which rows, of those that are read, are edited, by their numbers among all. */
    private static List<Integer> edited(ForwardContext context, ReadRows rows) {
        try (PointerScope scope = new PointerScope()) {
            Tensor h = Init.normal(1, "h", 1, context.packing().rows(), D);
            Tensor read = rows.select(h, context);
            Tensor out = applied(h, rows, context);
            float[] numbers = Tensors.toFloats(rows.select(
                    torch.arange(new Scalar((double) context.packing().rows())).to(ScalarType.Float), context));
            List<Integer> found = new ArrayList<>();
            for (int i = 0; i < numbers.length; i++) {
                if (!Arrays.equals(Tensors.toFloats(read.select(0, i)), Tensors.toFloats(out.select(0, i)))) {
                    found.add((int) numbers[i]);
                }
            }
            return found;
        }
    }

    private static Adapter places(int prefix, int suffix) {
        return random(USUAL.toBuilder().positions(prefix, suffix).build(), POINTS, 4);
    }

    @Test
    void placesAreThoseOfEachText() {
        try (Adapter adapter = places(2, 1);
                Adapter last = places(0, 2);
                ForwardContext context = ForwardContext.inference(
                        Packing.of(5, 2, 0, 1, 4), Arrays.asList(adapter, adapter, adapter, last, null))) {
            assertThat(edited(context, ReadRows.ALL)).containsExactly(0, 1, 4, 5, 6, 7);
        }
    }

    /** Of the rows that somebody reads: places are those in the whole text. */
    @Test
    void rowsThatNobodyReadsAreNotEdited() {
        try (Adapter adapter = places(2, 2);
                ForwardContext context = ForwardContext.inference(Packing.of(6, 3), adapter)) {
            assertThat(edited(context, ReadRows.FIRST)).containsExactly(0, 6);
            assertThat(edited(context, ReadRows.last(1))).containsExactly(5, 8);
            assertThat(edited(context, ReadRows.token(List.of(2, 1)))).containsExactly(7);
            assertThat(edited(context, ReadRows.token(List.of(2, 2)))).containsExactly(8);
        }
    }

    /** An adapter that asks for all rows sees them behind the last block, too; others beside it change nothing. */
    @Test
    void whoReadsAllRowsSeesThemBehindABlock() {
        List<Long> seen = new ArrayList<>();
        BlockUpdate counts = (h, rows, context) -> {
            seen.add(h.size(0));
            return h;
        };
        try (Adapter some =
                        Adapter.builder("some", Device.CPU).claim(POINT, counts).build();
                Adapter all = Adapter.builder("all", Device.CPU)
                        .claim(POINT, counts)
                        .readsAllRows()
                        .build();
                Adapter adapter = places(2, 2);
                ForwardContext few = ForwardContext.inference(Packing.of(6, 3), some, adapter);
                ForwardContext whole = ForwardContext.inference(Packing.of(6, 3), all, adapter)) {
            assertThat(edited(few, ReadRows.last(2))).containsExactly(4, 5, 7, 8);
            assertThat(edited(whole, ReadRows.last(2))).containsExactly(4, 5, 7, 8);
            assertThat(seen).containsExactly(4L, 9L);
        }
    }

    /** Where an instruction is said it is the prompt; a text whose first token alone is one is a prompt as a whole. */
    @Test
    void ofAPromptAndItsResponseThePromptIsEdited() {
        try (Adapter adapter = places(1, 2);
                ForwardContext whole = ForwardContext.inference(Packing.of(6, 5, 4), adapter);
                ForwardContext context = whole.withInstructions(4, 1, 2)) {
            assertThat(edited(context, ReadRows.ALL)).containsExactly(0, 2, 3, 6, 9, 10, 11, 12);
            assertThat(edited(context.slice(2, 3), ReadRows.ALL)).containsExactly(0, 1);
        }
    }

    /** Rows of prompt tuning stand before the text; places are counted behind them. */
    @Test
    void insertedRowsAreNoTokens() {
        PromptConfig prompt = PromptConfig.of(3);
        try (Adapter rows = Methods.of(prompt).attach("rows", prompt, model.points(), 1);
                Adapter adapter = places(1, 1);
                ForwardContext context = ForwardContext.inference(Packing.of(4, 3), rows, adapter)) {
            assertThat(edited(context, ReadRows.ALL)).containsExactly(3, 6, 10, 12);
            assertThat(edited(context, ReadRows.FIRST)).isEmpty();
        }
    }

    /** Earlier rows of each sequence. */
    private record Earlier(int... rows) implements KeyValueCache {
        @Override
        public boolean filled() {
            return true;
        }

        @Override
        public int length(int sequence) {
            return rows[sequence];
        }

        @Override
        public void write(int layer, Tensor keys, Tensor values) {}

        @Override
        public void writePrefix(int layer, int sequence, Tensor keys, Tensor values) {}

        @Override
        public Rows read(int layer) {
            throw new UnsupportedOperationException();
        }
    }

    /** What goes on behind a prompt is not edited; a prompt in several calls is edited as in one. */
    @Test
    void behindEarlierRowsPlacesAreThoseOfTheWholePrompt() {
        PromptConfig prompt = PromptConfig.of(3);
        int[] five = {1, 2, 3, 4, 5};
        try (Adapter adapter = places(2, 2);
                ForwardContext generated =
                        ForwardContext.continued(Packing.of(1, 1), both(adapter), new Earlier(5, 9), null);
                ForwardContext chunk =
                        ForwardContext.continued(Packing.of(3, 4), both(adapter), new Earlier(1, 2), null)) {
            assertThat(edited(generated.withPrompts(List.of(five, five)), ReadRows.ALL))
                    .isEmpty();
            assertThatThrownBy(() -> edited(chunk, ReadRows.ALL))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("was not told the prompts");
            assertThat(edited(chunk.withPrompts(List.of(five, five)), ReadRows.ALL))
                    .containsExactly(0, 2, 4, 5);
        }
    }

    private static List<@Nullable Adapter> both(Adapter adapter) {
        return List.of(adapter, adapter);
    }

    /** Soft tokens that go through a block as rows are no rows of the text. */
    @Test
    void rowsThatGoThroughABlockAreNotEdited() {
        float[][] of = new float[2][];
        for (PromptInsertion way : PromptInsertion.values()) {
            IaptConfig iapt = IaptConfig.builder()
                    .virtualTokens(3)
                    .bottleneckSize(8)
                    .shareGroup(1)
                    .promptInsertion(way)
                    .build();
            try (Adapter soft = random(iapt, model.points(), 3);
                    Adapter adapter = random(USUAL.toBuilder().positions(2, 2).build(), model.points(), 5)) {
                of[way.ordinal()] = logits(model, soft, adapter);
                assertThat(maxDifference(of[way.ordinal()], logits(model, soft)))
                        .isGreaterThan(1e-3);
            }
        }
        assertThat(maxDifference(of[0], of[1])).isLessThan(1e-5);
    }

    /** Several on the same rows: the second edits what the first left. */
    @Test
    void twoEditOneBehindTheOther() {
        try (Adapter one = random(USUAL, POINTS, 1);
                Adapter two = random(USUAL, POINTS, 2);
                PointerScope scope = new PointerScope();
                ForwardContext first = ForwardContext.inference(Packing.of(4, 2), one);
                ForwardContext second = ForwardContext.inference(Packing.of(4, 2), two);
                ForwardContext all = ForwardContext.inference(Packing.of(4, 2), one, two)) {
            Tensor h = Init.normal(1, "h", 1, 6, D);
            assertThat(Tensors.toFloats(applied(h, ReadRows.ALL, all)))
                    .isEqualTo(Tensors.toFloats(applied(applied(h, ReadRows.ALL, first), ReadRows.ALL, second)));
        }
    }

    /** Of a half-precision model: R and the edit are float32, the row is rounded once. */
    @Test
    void theEditIsComputedInFloat32() {
        try (Adapter adapter = random(USUAL.toBuilder().r(3).positions(9, 0).build(), POINTS, 1);
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(9), adapter)) {
            Tensor half = Init.normal(1, "h", 1, 9, D).to(ScalarType.BFloat16);
            Tensor own = applied(half, ReadRows.ALL, context);
            Tensor whole = applied(half.to(ScalarType.Float), ReadRows.ALL, context);
            assertThat(own.scalar_type().intern()).isEqualTo(ScalarType.BFloat16);
            assertThat(Tensors.toFloats(own.to(ScalarType.Float)))
                    .isEqualTo(Tensors.toFloats(whole.to(ScalarType.BFloat16).to(ScalarType.Float)));
        }
    }

    /** Dropout is of the whole edited row, not of the others. */
    @Test
    void dropoutIsOfEditedRowsAsAWhole() {
        ReftConfig config = USUAL.toBuilder().dropout(0.5).positions(1, 0).build();
        try (Adapter adapter = random(config, POINTS, 1);
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(Packing.of(2), 7, adapter);
                ForwardContext still = ForwardContext.inference(Packing.of(2), adapter)) {
            Tensor h = Init.normal(1, "h", 1, 2, D);
            float[] whole = Tensors.toFloats(applied(h, ReadRows.ALL, still));
            float[] dropped = Tensors.toFloats(applied(h, ReadRows.ALL, context));
            int zeros = 0;
            for (int i = 0; i < D; i++) {
                zeros += dropped[i] == 0 ? 1 : 0;
                assertThat(dropped[i]).isIn(0f, 2 * whole[i]);
                assertThat(dropped[D + i]).isEqualTo(whole[D + i]);
            }
            assertThat(zeros).isBetween(1, D - 1);
        }
    }

    /** Through the cache the same tokens come one by one and in a batch; MethodsOnDecodersTest compares them with whole texts. */
    @Test
    void generatedTextsDoNotDependOnTheBatch() throws Exception {
        try (HeadedModel llama = llama();
                Adapter adapter = random(USUAL.toBuilder().positions(2, 1).build(), llama.points(), 3)) {
            Generator generator = new Generator(llama.model(), (LanguageHead) llama.head());
            GenerationSettings greedy = new GenerationSettings(6, Sampling.GREEDY, List.of(), List.of());
            List<Prompt> prompts = new ArrayList<>();
            for (int[] text : new int[][] {{5, 49, 40, 8}, {33}, {21, 4, 38, 60, 12, 50, 7}}) {
                prompts.add(new Prompt(text, adapter, prompts.size()));
            }
            List<int[]> together = ids(generator, prompts, greedy);
            for (int i = 0; i < prompts.size(); i++) {
                assertThat(together.get(i))
                        .isEqualTo(ids(generator, prompts.subList(i, i + 1), greedy)
                                .get(0));
            }
        }
    }

    private static List<int[]> ids(Generator generator, List<Prompt> prompts, GenerationSettings settings) {
        return generator.generate(prompts, settings, null, GenerationListener.NONE).stream()
                .map(made -> made.ids())
                .toList();
    }

    /** R goes on from a file to the same bits: values, and gradients of the next step. */
    @Test
    void whatWasSavedGoesOnToTheSameBits() throws Exception {
        ReftConfig config = USUAL.toBuilder().r(3).positions(2, 2).build();
        try (Adapter adapter = random(config, POINTS, 3)) {
            AdapterStore.write(directory, adapter, config, POINTS, "small", "SEQ_CLS");
            AdapterStore.Loaded loaded = AdapterStore.read(directory, "again", POINTS);
            assertThat(loaded.config()).isEqualTo(config);
            try (Adapter again = loaded.adapter()) {
                Map<String, float[]> expected = gradients(adapter);
                gradients(again)
                        .forEach((path, gradient) ->
                                assertThat(gradient).as(path).isEqualTo(expected.get(path)));
            }
        }
    }

    private static Map<String, float[]> gradients(Adapter adapter) {
        Map<String, float[]> found = new LinkedHashMap<>();
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(Packing.of(6), 1, adapter)) {
            Tensor out = applied(Init.normal(1, "h", 1, 6, D), ReadRows.ALL, context);
            out.mul(out).sum().backward();
            adapter.parameters()
                    .forEach((path, parameter) ->
                            found.put(path, Tensors.toFloats(parameter.value().grad())));
        }
        assertThat(found).hasSize(6);
        return found;
    }

    /** Names are AdapterHub's without the adapter's; a unit that would edit nothing is not there. */
    @Test
    void aFileHasTheUnitsThatEditSomething() throws Exception {
        for (int[] places : new int[][] {{3, 0}, {0, 2}}) {
            ReftConfig config =
                    USUAL.toBuilder().positions(places[0], places[1]).layers(1).build();
            try (Adapter adapter = random(config, model.points(), 3)) {
                AdapterStore.write(directory, adapter, config, model.points(), "bert", "SEQ_CLS");
                String unit = "base_model.model.bert.encoder.layer.1.reft_layer.units." + (places[0] > 0 ? 0 : 1);
                assertThat(AdapterFiles.read(directory).tensors().keySet())
                        .containsExactlyInAnyOrder(
                                unit + ".learned_source.weight",
                                unit + ".learned_source.bias",
                                unit + ".projection.parametrizations.weight.original",
                                unit + ".projection.parametrizations.weight.0.base_vectors");
            }
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "1 | base_vectors | 0.5 | must have 1 on its diagonal and 0 before it, has 0.5 at [0, 0]",
                "2 | base_vectors | NaN | must hold finite numbers",
                "2 | base_vectors | missing | adapter lacks the tensor base_model.model.block.0.reft_layer.units.0.projection",
                "2 | base_vectors | shape | must have shape [2, 8], has [16]",
                "2 | original | shape | must have shape [2, 8] for this model, has [16]",
            })
    void wrongFilesAreRefused(int r, String name, String what, String message) throws Exception {
        ReftConfig config = USUAL.toBuilder().r(r).build();
        try (Adapter adapter = random(config, POINTS, 3)) {
            AdapterStore.write(directory, adapter, config, POINTS, "small", "SEQ_CLS");
        }
        List<TensorData> tensors = new ArrayList<>();
        for (TensorData data : AdapterFiles.read(directory).tensors().values()) {
            if (!data.name().endsWith(name)) {
                tensors.add(data);
            } else if (what.equals("shape")) {
                tensors.add(TensorData.ofFloats(data.name(), List.of(8L * r), data.toFloats()));
            } else if (!what.equals("missing")) {
                float[] values = data.toFloats();
                values[0] = Float.parseFloat(what);
                tensors.add(TensorData.ofFloats(data.name(), data.shape(), values));
            }
        }
        AdapterFiles.write(directory, AdapterFiles.read(directory).config(), tensors);
        assertThatThrownBy(() -> AdapterStore.read(directory, "wrong", POINTS))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(message);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "layers | some | layers must be all, or a list such as [0, 3], got 'some'",
                "non_linearity | mish | must be null, or one of [none, relu, gelu, swish, tanh]",
                "prefix_positions | -1 | prefix_positions",
                "orthogonality | maybe | orthogonality",
            })
    void wrongConfigsAreRefused(String key, String value, String message) throws Exception {
        try (Adapter adapter = random(USUAL, POINTS, 3)) {
            AdapterStore.write(directory, adapter, USUAL, POINTS, "small", "SEQ_CLS");
        }
        Map<String, Object> config =
                new LinkedHashMap<>(AdapterFiles.read(directory).config());
        config.put(key, value.equals("-1") ? -1 : value);
        AdapterFiles.write(
                directory,
                config,
                List.copyOf(AdapterFiles.read(directory).tensors().values()));
        assertThatThrownBy(() -> AdapterStore.read(directory, "wrong", POINTS))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(message);
    }

    private void refuses(ReftConfig.Builder config, String message) {
        assertThatThrownBy(() -> {
                    ReftConfig built = config.build();
                    Methods.of(built).attach("a", built, model.points(), 1).close();
                })
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(message);
    }

    @Test
    void whatCannotBeIsRefused() {
        String rank = "r: must be at most the width 32 of bert.encoder.layer.0, which has no more ";
        refuses(ReftConfig.builder().r(33), rank + "orthonormal rows, got 33");
        refuses(ReftConfig.noreft().toBuilder().r(33), rank + "directions, got 33");
        refuses(ReftConfig.builder().r(0), "r must be 1 to 65536, got 0");
        refuses(ReftConfig.builder().positions(-1, 2), "prefixPositions must be 0 to 65536, got -1");
        refuses(ReftConfig.builder().positions(1, -2), "suffixPositions must be 0 to 65536, got -2");
        refuses(ReftConfig.builder().positions(0, 0), "prefixPositions and suffixPositions must not both be 0");
        refuses(ReftConfig.builder().dropout(1), "dropout must be in [0, 1), got 1.0");
        refuses(ReftConfig.builder().layers(1, 3), "layers: the model has no layer 3, its layers are 0 to 2");
        assertThatThrownBy(() -> ReftLayers.of(List.of())).hasMessageContaining("name at least one layer");
        assertThatThrownBy(() -> ReftLayers.of(List.of(2, -1))).hasMessageContaining("layers from 0, got -1");
        ReftConfig usual = ReftConfig.defaults();
        Points none = new Points("none", "None", D, 1, 2, List.of(), List.of(), Map.of(), List.of());
        assertThatThrownBy(() -> Methods.of(usual).attach("a", usual, none, 1))
                .hasMessageContaining("nothing can be put behind the layers of a model of the type none");
        try (Adapter most = random(USUAL.toBuilder().r(32).build(), model.points(), 1)) {
            assertThat(most.claims(BlockPoint.class).values().stream().flatMap(List::stream))
                    .hasSize(3)
                    .allMatch(BlockUpdate.class::isInstance);
        }
        assertThat(Methods.mergeRefusal(usual))
                .hasValueSatisfying(reason -> assertThat(reason).contains("places in the prompt"));
    }

    /** Of numbers from which it is made, too. */
    @Test
    void nothingStaysWhereOneIsClosed() {
        for (ReftConfig config : List.of(ReftConfig.loreft(), ReftConfig.noreft())) {
            long before = org.peft4j.ops.Ops.liveBytes();
            Methods.of(config).attach("a", config, model.points(), 1).close();
            assertThat(org.peft4j.ops.Ops.liveBytes()).isEqualTo(before);
        }
    }
}
