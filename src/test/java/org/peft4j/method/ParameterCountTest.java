package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.adalora.AdaLoraConfig;
import org.peft4j.method.adaption.AdaptionPromptConfig;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.boft.BoftConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.method.bottleneck.Scaling;
import org.peft4j.method.c3a.C3aConfig;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.dept.DeptConfig;
import org.peft4j.method.ept.EptConfig;
import org.peft4j.method.fourierft.FourierFtConfig;
import org.peft4j.method.gralora.GraloraConfig;
import org.peft4j.method.hira.HiraConfig;
import org.peft4j.method.hra.HraConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.list.ListConfig;
import org.peft4j.method.loha.LoHaConfig;
import org.peft4j.method.lokr.LoKrConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.miss.MissConfig;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.PromptSource;
import org.peft4j.method.oft.OftConfig;
import org.peft4j.method.osf.OsfConfig;
import org.peft4j.method.poly.PolyConfig;
import org.peft4j.method.poly.Skills;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.ptuning.Encoder;
import org.peft4j.method.ptuning.PTuningConfig;
import org.peft4j.method.randlora.RandLoraConfig;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.road.RoadConfig;
import org.peft4j.method.shira.ShiraConfig;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.vblora.VbLoraConfig;
import org.peft4j.method.xlora.XLoraConfig;
import org.peft4j.nn.seam.BlockPoint;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Ops;

/** Numbers of trained elements that the papers and their libraries give for BERT-base: 12 layers, 768 wide, MLP of 3072. */
class ParameterCountTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final int WIDTH = 768;

    private static Points bertBase() {
        List<LinearPoint> linears = new ArrayList<>();
        List<KeyValuePoint> keyValues = new ArrayList<>();
        List<Point<?>> others = new ArrayList<>(List.of(new SequencePoint(
                "bert.embeddings",
                new EmbeddingPoint("bert.embeddings.word_embeddings", 30_522, WIDTH, true, false),
                1)));
        Map<String, TensorPoint> tensors = new LinkedHashMap<>();
        tensor(tensors, "bert.embeddings.LayerNorm.bias", WIDTH);
        for (int layer = 0; layer < 12; layer++) {
            String path = "bert.encoder.layer." + layer + ".";
            for (String name : List.of("query", "key", "value")) {
                linear(linears, tensors, path + "attention.self." + name, WIDTH, WIDTH);
            }
            linear(linears, tensors, path + "attention.output.dense", WIDTH, WIDTH);
            linear(linears, tensors, path + "intermediate.dense", WIDTH, 4 * WIDTH);
            linear(linears, tensors, path + "output.dense", 4 * WIDTH, WIDTH);
            tensor(tensors, path + "attention.output.LayerNorm.bias", WIDTH);
            tensor(tensors, path + "output.LayerNorm.bias", WIDTH);
            keyValues.add(new KeyValuePoint(path + "attention.self", layer, 12, 64));
            others.add(new SublayerPoint(path + "attention.output", layer, SublayerPoint.Kind.ATTENTION, WIDTH, true));
            others.add(new BlockPoint("bert.encoder.layer." + layer, layer, WIDTH));
            others.add(new SublayerPoint(path + "output", layer, SublayerPoint.Kind.MLP, WIDTH, true));
        }
        return new Points("bert", "BertModel", WIDTH, 12, 12, linears, keyValues, tensors, List.of()).and(others);
    }

    private static void linear(
            List<LinearPoint> linears, Map<String, TensorPoint> tensors, String path, long in, long out) {
        linears.add(new LinearPoint(path, in, out, false));
        tensor(tensors, path + ".bias", out);
    }

    private static void tensor(Map<String, TensorPoint> tensors, String path, long size) {
        Tensor expanded = torch.zeros(1).expand(size);
        tensors.put(path, new TensorPoint(path, expanded));
    }

    private static <C extends MethodConfig> long count(C config) {
        try (PointerScope scope = new PointerScope()) {
            return count(config, bertBase());
        }
    }

    private static <C extends MethodConfig> long count(C config, Points points) {
        return Methods.of(config).parameterCount(config, points);
    }

    @Test
    void ofBottlenecks() {
        assertThat(count(BottleneckConfig.seqBn())).isEqualTo(894_528);
        assertThat(count(BottleneckConfig.doubleSeqBn())).isEqualTo(1_789_056);
        assertThat(count(BottleneckConfig.seqBnInv())).isEqualTo(1_190_592);
        assertThat(count(BottleneckConfig.doubleSeqBnInv())).isEqualTo(1_789_056 + 1_190_592 - 894_528);
        assertThat(count(BottleneckConfig.parBn())).isEqualTo(7_091_712);
        assertThat(count(BottleneckConfig.scaledParBn())).isEqualTo(7_091_712 + 12);
        assertThat(count(BottleneckConfig.compacter())).isEqualTo(57_088);
        assertThat(count(BottleneckConfig.compacterPlusPlus())).isEqualTo(28_576);
        assertThat(count(BottleneckConfig.builder()
                        .activation(BottleneckConfig.Activation.RATIONAL)
                        .scaling(Scaling.CHANNEL)
                        .leaveOut(List.of(0, 11))
                        .build()))
                .isEqualTo(10 * (894_528 / 12 + 6 + 4 + WIDTH));
    }

    /** The prefix of UniPELT, whose numbers are known, and that of MAM. */
    @Test
    void ofBottlenecksBesideAPrefix() {
        BottleneckConfig ten =
                BottleneckConfig.builder().prefix(new BottleneckPrefix(10, 512)).build();
        assertThat(count(ten)).isEqualTo(894_528 + 9_857_024);
        assertThat(count(BottleneckConfig.mam()))
                .isEqualTo(7_091_712 + 30 * WIDTH + 800 * WIDTH + 800 + 24 * WIDTH * 800 + 24 * WIDTH);
    }

    /** 9,857,024 of the prefix, 9,228 of its gates, 903,756 of the bottlenecks and theirs, 313,368 of LoRA and its (Mao et al. 2021). */
    @Test
    void ofUniPelt() {
        BottleneckConfig unipelt = BottleneckConfig.unipelt();
        assertThat(count(unipelt)).isEqualTo(11_083_376);
        assertThat(count(unipelt.toBuilder().lora(null).build())).isEqualTo(11_083_376 - 313_368);
        assertThat(count(unipelt.toBuilder().lora(null).prefix(null).build())).isEqualTo(903_756);
        assertThat(count(unipelt.toBuilder()
                        .prefix(new BottleneckPrefix(10, 512, false))
                        .build()))
                .isEqualTo(11_083_376 + 9_228);
        assertThat(count(unipelt.toBuilder().gate(false).build()))
                .isEqualTo(9_857_024 + 894_528 + 12 * 2 * 8 * 2 * WIDTH);
    }

    @Test
    void ofAdapterPlus() {
        assertThat(count(BottleneckConfig.adapterPlus())).isEqualTo(12 * (2 * 8 * WIDTH + 8 + WIDTH + WIDTH));
    }

    /** LiST's own number is of RoBERTa-large: 24 layers, 1024 wide. */
    @Test
    void ofLinearAdapters() {
        assertThat(count(ListConfig.defaults())).isEqualTo(12 * 2 * 2 * 128 * WIDTH);
        List<LinearPoint> linears = new ArrayList<>();
        List<Point<?>> ends = new ArrayList<>();
        for (int layer = 0; layer < 24; layer++) {
            String path = "roberta.encoder.layer." + layer + ".";
            linears.add(new LinearPoint(path + "attention.self.value", 1024, 1024, false));
            linears.add(new LinearPoint(path + "attention.output.dense", 1024, 1024, false));
            linears.add(new LinearPoint(path + "intermediate.dense", 1024, 4096, false));
            linears.add(new LinearPoint(path + "output.dense", 4096, 1024, false));
            ends.add(new SublayerPoint(path + "attention.output", layer, SublayerPoint.Kind.ATTENTION, 1024, true));
            ends.add(new SublayerPoint(path + "output", layer, SublayerPoint.Kind.MLP, 1024, true));
        }
        Points large = new Points("roberta", "RobertaModel", 1024, 24, 16, linears, List.of(), Map.of(), List.of());
        assertThat(count(ListConfig.defaults(), large.and(ends))).isEqualTo(12_582_912);
    }

    /** The library's 36,888 are two units; the one of last tokens is there only where last tokens are edited. */
    @Test
    void ofReft() {
        for (ReftConfig config : List.of(ReftConfig.loreft(), ReftConfig.noreft(), ReftConfig.direft())) {
            assertThat(count(config.toBuilder().positions(3, 3).build())).isEqualTo(36_888);
            assertThat(count(config)).isEqualTo(36_888 / 2);
            assertThat(count(
                            config.toBuilder().positions(3, 3).tiedWeights(true).build()))
                    .isEqualTo(36_888 / 2);
        }
        assertThat(count(ReftConfig.builder().r(4).layers(0, 11).build())).isEqualTo(2 * (2 * 4 * WIDTH + 4));
    }

    @Test
    void ofAllBiases() {
        assertThat(count(BitFitConfig.defaults())).isEqualTo(102_144); // without the pooler's 768
    }

    @Test
    void ofFactors() {
        // key, value; "output.dense" is attention's, too, whose input is 768, beside the MLP's of 3072
        assertThat(count(Ia3Config.defaults())).isEqualTo(12 * (3 * WIDTH + 4 * WIDTH));
    }

    /** As LoRA has, and none more for the tokens from which on it acts. */
    @Test
    void ofActivatedLora() {
        LoraConfig lora = LoraConfig.builder().r(8).build();
        assertThat(count(lora)).isEqualTo(12 * 2 * 8 * 2 * WIDTH);
        assertThat(count(lora.toBuilder().aloraInvocationTokens(List.of(5, 6)).build()))
                .isEqualTo(count(lora));
    }

    /** Counted in models of Hugging Face PEFT with the same settings. */
    @Test
    void ofWhatIsAddedToLinearLayers() {
        assertThat(count(AdaLoraConfig.defaults())).as("before ranks are taken").isEqualTo(442_656);
        assertThat(count(LoHaConfig.defaults())).isEqualTo(589_824);
        assertThat(count(LoKrConfig.defaults())).isEqualTo(26_112);
        assertThat(count(HiraConfig.defaults())).isEqualTo(1_179_648);
        assertThat(count(RandLoraConfig.defaults())).isEqualTo(460_800);
        assertThat(count(ShiraConfig.defaults())).isEqualTo(1_179_648);
        assertThat(count(VbLoraConfig.defaults())).isEqualTo(212_992);
        assertThat(count(OsfConfig.defaults().withLayers(TargetLayers.of("query", "value"))))
                .isEqualTo(14_164_992);
    }

    /** Of Llama 2 7B, 32 layers of 4,096: unshared generators of width 256 have 1 % of its numbers, of width 34 those of PARA. */
    @Test
    void ofGeneratorsOfSoftTokens() {
        long d = 4096;
        IaptConfig wide = iapt(256, 1);
        assertThat(count(wide, llama7b())).isEqualTo(32 * (2 * 256 * d + 256 + d) + 32 * (4 * 256 + 6 + 4));
        assertThat((double) count(wide, llama7b())).isCloseTo(67.1e6, within(0.2e6));
        assertThat(count(iapt(32, 5), llama7b()))
                .isEqualTo(7 * (2 * 32 * d + 32 + d) + 32 * (4 * 32 + 6 + 4)); // the last group has two layers
        assertThat(count(iapt(34, 1), llama7b())).isBetween(8_900_000L, 9_100_000L);
    }

    private static IaptConfig iapt(int width, int share) {
        return IaptConfig.builder().bottleneckSize(width).shareGroup(share).build();
    }

    private static Points llama7b() {
        List<KeyValuePoint> layers = new ArrayList<>();
        for (int layer = 0; layer < 32; layer++) {
            layers.add(new KeyValuePoint("model.layers." + layer + ".self_attn", layer, 32, 128));
        }
        return new Points("llama", "LlamaModel", 4096, 32, 32, List.of(), layers, Map.of(), List.of());
    }

    /** Of LLaMA-7B in the paper: 30 of 32 layers, 10 rows each, 1.2 million. */
    @Test
    void ofGatedPrompts() {
        assertThat(count(new AdaptionPromptConfig(10, 30, List.of()), llama7b()))
                .isEqualTo(30 * (10 * 4096 + 1));
    }

    @Test
    void ofRotations() {
        assertThat(count(OftConfig.defaults())).isEqualTo(285_696);
        assertThat(count(BoftConfig.defaults())).isEqualTo(92_160);
        assertThat(count(HraConfig.defaults())).isEqualTo(147_456);
        assertThat(count(RoadConfig.defaults())).isEqualTo(18_432);
    }

    @Test
    void ofBlocksAndFrequencies() {
        assertThat(count(MissConfig.defaults())).isEqualTo(1_179_648);
        assertThat(count(FourierFtConfig.defaults())).isEqualTo(24_000);
        assertThat(count(C3aConfig.defaults())).isEqualTo(55_296);
        assertThat(count(GraloraConfig.defaults())).isEqualTo(1_179_648);
        assertThat(count(PolyConfig.defaults())).isEqualTo(1_179_744);
        assertThat(count(PolyConfig.defaults().withSkills(Skills.of(3, 5).withSplits(2))))
                .as("S r (n + m), and a number for each task, split and skill")
                .isEqualTo(24 * (5 * 8 * 2 * WIDTH + 3 * 2 * 5));
    }

    /** Whose experts are frozen: E (d + 1) of a classifier of one layer. */
    @Test
    void ofMixedAdapters() {
        XLoraConfig three = XLoraConfig.builder()
                .adapters(Map.of("a", Path.of("a"), "b", Path.of("b"), "c", Path.of("c")))
                .build();
        assertThat(count(three)).isEqualTo(3 * (WIDTH + 1));
        assertThat(count(three.toBuilder().depth(3).size(100).build()))
                .isEqualTo(100 * (WIDTH + 1) + 100 * 101 + 3 * 101);
    }

    /** Whose experts are frozen: of their files nothing counts but where they stand. */
    @Test
    void ofFusions(@TempDir Path directory) throws Exception {
        Map<String, Path> experts = Map.of("a", directory.resolve("a"));
        AdapterFiles.write(experts.get("a"), Map.of("peft_type", "BOTTLENECK"), List.of()); // of seq_bn
        FusionConfig dynamic = FusionConfig.builder().adapters(experts).build();
        assertThat(count(dynamic)).isEqualTo(21_252_096).isEqualTo(12 * (3 * WIDTH * WIDTH + 2 * WIDTH));
        assertThat(count(FusionConfig.withoutValue().toBuilder()
                        .adapters(experts)
                        .build()))
                .isEqualTo(12 * (2 * WIDTH * WIDTH + 2 * WIDTH));
    }

    @Test
    void ofPrompts() {
        assertThat(count(PromptConfig.of(100))).isEqualTo(100 * WIDTH);
        assertThat(count(new PTuningConfig(20, Encoder.MLP, 128, List.of())))
                .isEqualTo(20 * WIDTH + WIDTH * 128 + 128 + 128 * 128 + 128 + 128 * WIDTH + WIDTH);
        assertThat(count(new PTuningConfig(20, Encoder.LSTM, 128, List.of()))).isEqualTo(1_593_344);
        assertThat(count(new MultitaskPromptConfig(
                        5,
                        PromptStart.RANDOM,
                        new MultitaskPromptConfig.Factors(3, 1, 0),
                        PromptSource.NONE,
                        List.of())))
                .isEqualTo(5 * WIDTH + 3 * (5 + WIDTH));
        assertThat(count(CptConfig.of(List.of(1, 2), List.of(2, 4)))).isEqualTo(2 * WIDTH);
        assertThat(count(DeptConfig.defaults())).as("as 100 rows have").isEqualTo(100 * WIDTH);
        assertThat(count(EptConfig.defaults()))
                .isEqualTo(100 * WIDTH + 4 * WIDTH * 16 + 2 * 2 * WIDTH * 16 + 2 * WIDTH);
    }
}
