package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.adalora.AdaLoraConfig;
import org.peft4j.method.adalora.RankBudget;
import org.peft4j.method.adaption.AdaptionPromptConfig;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.boft.BoftBlocks;
import org.peft4j.method.boft.BoftConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckLora;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.method.bottleneck.OriginalNorms;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.bottleneck.Scaling;
import org.peft4j.method.c3a.BlockSizes;
import org.peft4j.method.c3a.C3aConfig;
import org.peft4j.method.c3a.InitC3a;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.cpt.LossWeights;
import org.peft4j.method.dept.DeptConfig;
import org.peft4j.method.ept.EptConfig;
import org.peft4j.method.fourierft.FourierFtConfig;
import org.peft4j.method.fourierft.Frequencies;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.gralora.GraloraConfig;
import org.peft4j.method.gralora.GraloraRanks;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.method.hira.HiraConfig;
import org.peft4j.method.hira.InitHira;
import org.peft4j.method.hra.HraConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.iapt.PromptInsertion;
import org.peft4j.method.iapt.RationalVersion;
import org.peft4j.method.list.ListConfig;
import org.peft4j.method.lntuning.LnTuningConfig;
import org.peft4j.method.loha.LoHaConfig;
import org.peft4j.method.lokr.InitLoKr;
import org.peft4j.method.lokr.LoKrConfig;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.DataStart;
import org.peft4j.method.lora.EvaConfig;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.miss.MissConfig;
import org.peft4j.method.miss.MissVariant;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.PromptSource;
import org.peft4j.method.oft.Cayley;
import org.peft4j.method.oft.OftBlocks;
import org.peft4j.method.oft.OftConfig;
import org.peft4j.method.osf.OsfConfig;
import org.peft4j.method.poly.PolyConfig;
import org.peft4j.method.poly.Skills;
import org.peft4j.method.prefix.InitPrefix;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.ptuning.Encoder;
import org.peft4j.method.ptuning.PTuningConfig;
import org.peft4j.method.randlora.Bases;
import org.peft4j.method.randlora.RandLoraConfig;
import org.peft4j.method.randlora.Sparsity;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.road.RoadConfig;
import org.peft4j.method.road.RoadVariant;
import org.peft4j.method.shira.ShiraConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.tokens.TrainableTokensConfig;
import org.peft4j.method.vblora.VbLoraConfig;
import org.peft4j.method.vblora.VectorBank;
import org.peft4j.method.vera.VeraConfig;
import org.peft4j.method.xlora.XLoraConfig;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.TensorPoint;

/** What every method has to satisfy. A new method adds its rows to {@link #rows()}. */
class MethodContractTest {
    private static final double TOLERANCE = 1e-5;

    /** What a fresh adapter changes. */
    enum Start {
        NOTHING,
        /** Rounding: something is added and taken away again. */
        NEARLY,
        SOMETHING
    }

    /**
     * One method with settings.
     *
     * @param random whether something of a fresh adapter depends on the seed
     */
    record Row(String name, MethodConfig config, Start start, boolean random) {
        Row(String name, MethodConfig config, boolean identity, boolean random) {
            this(name, config, identity ? Start.NOTHING : Start.SOMETHING, random);
        }

        /** @param exact whether nothing means no bit, as far as it changes nothing */
        Row(String name, MethodConfig config, boolean identity, boolean random, boolean exact) {
            this(name, config, identity ? exact ? Start.NOTHING : Start.NEARLY : Start.SOMETHING, random);
        }

        Row(String name, MethodConfig config, boolean identity) {
            this(name, config, identity, true);
        }

        boolean identity() {
            return start == Start.NOTHING;
        }

        @Override
        public String toString() {
            return name;
        }
    }

    /** Rows that may move far, so that what comes of them has the gradient of an unbounded move. */
    private static final CptConfig MOVING = new CptConfig(
            List.of(2, 40, 41, 3),
            List.of(1, 2, 3, 4),
            new CptConfig.Loss(LossWeights.NONE, 1),
            new CptConfig.Distance(1000, 1000),
            List.of());

    private static final PromptStart START = PromptStart.text("Is this spam?").withTokens(List.of(2, 40, 41, 3, 9));

    static Stream<Row> rows() {
        List<String> head = List.of("classifier");
        return Stream.of(
                new Row(
                        "lora",
                        LoraConfig.builder().r(4).alpha(8).modulesToSave(head).build(),
                        true),
                new Row(
                        "lora, all linear layers, rsLoRA",
                        LoraConfig.builder()
                                .r(3)
                                .rslora(true)
                                .targets(Targets.allLinear())
                                .modulesToSave(head)
                                .build(),
                        true),
                new Row(
                        "lora with biases and pooler",
                        LoraConfig.builder()
                                .r(2)
                                .bias(Bias.ALL)
                                .targets("query", "dense")
                                .modulesToSave(List.of("classifier", "pooler"))
                                .build(),
                        true),
                new Row(
                        "lora on words",
                        LoraConfig.builder()
                                .r(2)
                                .targets("word_embeddings", "value")
                                .modulesToSave(head)
                                .build(),
                        true),
                new Row(
                        "DoRA",
                        LoraConfig.builder().r(3).dora(true).modulesToSave(head).build(),
                        true),
                new Row( // the rows from [SEP] on, the last of each text
                        "aLoRA",
                        LoraConfig.builder()
                                .r(3)
                                .targets("key", "value")
                                .aloraInvocationTokens(List.of(3))
                                .modulesToSave(head)
                                .build(),
                        true),
                new Row(
                        "lora whose B has a bias",
                        LoraConfig.builder()
                                .r(3)
                                .loraBias(true)
                                .targets("key", "dense")
                                .modulesToSave(head)
                                .build(),
                        true),
                new Row(
                        "lora whose B has a bias, and biases",
                        LoraConfig.builder()
                                .r(2)
                                .loraBias(true)
                                .bias(Bias.LORA_ONLY)
                                .modulesToSave(head)
                                .build(),
                        true),
                new Row(
                        "lora and rows of tokens",
                        LoraConfig.builder()
                                .r(2)
                                .trainableTokens(List.of(49, 2, 38, 3))
                                .modulesToSave(head)
                                .build(),
                        true),
                new Row(
                        "lora from an orthogonal matrix",
                        LoraConfig.builder()
                                .r(4)
                                .init(InitLora.ORTHOGONAL)
                                .modulesToSave(head)
                                .build(),
                        Start.NEARLY,
                        true),
                new Row("PiSSA", taken(InitLora.PISSA, 0), Start.NEARLY, false),
                new Row("PiSSA, fast", taken(InitLora.PISSA, 4), Start.NEARLY, true),
                new Row("OLoRA", taken(InitLora.OLORA, 0), Start.NEARLY, false),
                new Row("EVA", seen(InitLora.EVA), true, false),
                new Row("CorDA", seen(InitLora.CORDA), Start.NEARLY, false),
                new Row("LoRA-GA", seen(InitLora.LORA_GA), Start.NEARLY, false),
                new Row(
                        "AdaLoRA",
                        AdaLoraConfig.defaults()
                                .withBudget(RankBudget.defaults().withRanks(2, 4))
                                .withModulesToSave(head),
                        true),
                new Row(
                        "AdaLoRA of some layers",
                        AdaLoraConfig.builder()
                                .budget(new RankBudget(1, 3, 2, 4, 2, 20))
                                .alpha(20)
                                .targets("query", "output.dense")
                                .modulesToSave(head)
                                .build(),
                        true),
                new Row("(IA)³", Ia3Config.defaults().withModulesToSave(head), true, false),
                new Row(
                        "(IA)³ of some inputs",
                        new Ia3Config(
                                Targets.names("query", "intermediate.dense"), Targets.regex(".*query"), null, head),
                        true,
                        false),
                new Row("VeRA", VeraConfig.defaults().withR(5).withModulesToSave(head), true, false),
                new Row("LoHa", LoHaConfig.defaults().withRanks(Ranks.of(2, 4)).withModulesToSave(head), true),
                new Row(
                        "LoHa of high rank",
                        LoHaConfig.defaults()
                                .withRanks(new Ranks(6, 3, Map.of("key", 5), Map.of("0.attention.self.query", 6.0)))
                                .withLayers(TargetLayers.of("query", "key"))
                                .withModulesToSave(head),
                        true),
                new Row("LoKr", LoKrConfig.defaults().withRanks(Ranks.of(2, 4)).withModulesToSave(head), true),
                new Row(
                        "LoKr of two products",
                        new LoKrConfig(
                                new Ranks(2, 3, Map.of("query", 4), Map.of()),
                                true,
                                8,
                                InitLoKr.LYCORIS,
                                TargetLayers.of("query", "intermediate.dense"),
                                head),
                        true),
                new Row("HiRA", HiraConfig.defaults().withR(3).withModulesToSave(head), true),
                new Row(
                        "HiRA, gaussian",
                        new HiraConfig(2, 0, InitHira.GAUSSIAN, TargetLayers.of("key", "output.dense"), head),
                        true),
                new Row("RandLoRA", RandLoraConfig.defaults().withR(6, 3).withModulesToSave(head), true, false),
                new Row(
                        "RandLoRA, sparse, of wide and tall layers",
                        new RandLoraConfig(
                                7,
                                2,
                                new Bases(Sparsity.SPARSE, new Projection(3, false)),
                                0,
                                TargetLayers.of("intermediate.dense", "output.dense"),
                                head),
                        true,
                        false),
                new Row("SHiRA", ShiraConfig.defaults().withR(2).withModulesToSave(head), true, false),
                new Row("SHiRA, seeded", new ShiraConfig(3, 5L, TargetLayers.of("key"), head), true, false),
                new Row(
                        "VB-LoRA",
                        new VbLoraConfig(2, new VectorBank(6, 8, 2, 0.5, 1), 0, TargetLayers.modelDefault(), head),
                        false),
                new Row(
                        "OFT",
                        OftConfig.defaults().withBlocks(OftBlocks.ofSize(8)).withModulesToSave(head),
                        true,
                        false),
                new Row(
                        "OFT, exact, shared blocks",
                        OftConfig.defaults()
                                .withBlocks(new OftBlocks(4, 0, true))
                                .withCayley(Cayley.exact())
                                .withLayers(TargetLayers.of("query", "output.dense"))
                                .withModulesToSave(head),
                        true,
                        false),
                new Row("BOFT", BoftConfig.defaults().withModulesToSave(head), true, false, false),
                new Row(
                        "BOFT of three factors",
                        BoftConfig.defaults()
                                .withBlocks(new BoftBlocks(0, 8, 3))
                                .withModulesToSave(head),
                        true,
                        false,
                        false),
                new Row("HRA", HraConfig.defaults().withR(4).withModulesToSave(head), true, true, false),
                new Row(
                        "HRA, orthogonal",
                        HraConfig.defaults().withR(3).withApplyGs(true).withModulesToSave(head),
                        false),
                new Row("RoAd", RoadConfig.defaults().withGroupSize(8).withModulesToSave(head), true, false),
                new Row(
                        "RoAd, variant 4",
                        RoadConfig.defaults()
                                .withVariant(RoadVariant.ROAD_4)
                                .withGroupSize(16)
                                .withLayers(TargetLayers.of(Targets.allLinear()))
                                .withModulesToSave(head),
                        true,
                        false),
                new Row("MiSS", MissConfig.defaults().withR(5).withModulesToSave(head), true, false),
                new Row(
                        "MiSS, bat",
                        MissConfig.defaults()
                                .withR(4)
                                .withVariant(MissVariant.BAT, 1)
                                .withModulesToSave(head),
                        true,
                        false),
                new Row(
                        "MiSS, mini",
                        MissConfig.defaults()
                                .withR(6)
                                .withVariant(MissVariant.MINI, 4)
                                .withModulesToSave(head),
                        true,
                        false),
                new Row(
                        "C³A",
                        C3aConfig.defaults()
                                .withBlocks(new BlockSizes(8, Map.of("0.attention.self.value", 16)))
                                .withModulesToSave(head),
                        false),
                new Row(
                        "C³A from zeros",
                        C3aConfig.defaults()
                                .withBlocks(BlockSizes.of(4))
                                .withInitWeights(InitC3a.ZEROS)
                                .withLayers(TargetLayers.of("intermediate.dense"))
                                .withModulesToSave(head),
                        true,
                        false),
                new Row(
                        "FourierFT",
                        FourierFtConfig.defaults()
                                .withFrequencies(new Frequencies(20, Map.of("value", 9), 5))
                                .withModulesToSave(head),
                        false),
                new Row(
                        "FourierFT from zeros",
                        FourierFtConfig.defaults()
                                .withFrequencies(Frequencies.of(30))
                                .withInitWeights(true)
                                .withModulesToSave(head),
                        true,
                        false),
                new Row(
                        "GraLoRA",
                        GraloraConfig.defaults()
                                .withRanks(new GraloraRanks(4, 0, 2))
                                .withModulesToSave(head),
                        true),
                new Row(
                        "GraLoRA, hybrid",
                        new GraloraConfig(
                                new GraloraRanks(8, 3, 4), 7, 0, TargetLayers.of("key", "intermediate.dense"), head),
                        true),
                new Row("OSF", OsfConfig.defaults().withModulesToSave(head), Start.NEARLY, false),
                new Row(
                        "OSF of wide and tall layers",
                        new OsfConfig(
                                0.75,
                                Map.of("layer.1.*output", 5.0),
                                TargetLayers.of("intermediate.dense", "output.dense"),
                                head),
                        Start.NEARLY,
                        false),
                new Row(
                        "Poly",
                        PolyConfig.defaults()
                                .withR(3)
                                .withSkills(Skills.of(1, 3).withSplits(2))
                                .withModulesToSave(head),
                        true),
                new Row(
                        "LN tuning",
                        LnTuningConfig.defaults()
                                .withTargets(Targets.names("LayerNorm"))
                                .withModulesToSave(head),
                        true,
                        false),
                new Row("prompt tuning", new PromptConfig(3, head), false),
                new Row("prompt tuning of a text", new PromptConfig(3, START, head), false, false),
                new Row("prompt tuning of words", new PromptConfig(3, PromptStart.sampled(), head), false),
                new Row(
                        "multitask prompt tuning",
                        new MultitaskPromptConfig(
                                3,
                                PromptStart.RANDOM,
                                new MultitaskPromptConfig.Factors(1, 2, 0),
                                PromptSource.NONE,
                                head),
                        false),
                new Row("CPT", MOVING.withModulesToSave(head), false, false),
                new Row("DePT", new DeptConfig(3, PromptStart.RANDOM, 2, 8, 60, head), false),
                new Row(
                        "EPT",
                        new EptConfig(3, PromptStart.RANDOM, 2, 60, new EptConfig.Network(5, 2, 4), head),
                        false),
                new Row("P-tuning", new PTuningConfig(2, Encoder.MLP, 8, head), false),
                new Row("P-tuning, LSTM", new PTuningConfig(3, Encoder.LSTM, 6, head), false),
                new Row(
                        "trainable tokens",
                        new TrainableTokensConfig(List.of(49, 2, 38, 3), Targets.modelDefault(), head),
                        true,
                        false),
                new Row("BitFit", BitFitConfig.defaults().withModulesToSave(head), true, false),
                new Row("BitFit of queries", new BitFitConfig(List.of("query", "LayerNorm"), head), true, false),
                new Row("full", FullConfig.defaults().withModulesToSave(head), Start.NEARLY, false),
                new Row(
                        "full, of the last block's attention and the embeddings",
                        new FullConfig(
                                new ModelParts(
                                        List.of(ModelPart.EMBEDDINGS, ModelPart.BLOCKS),
                                        List.of(-1),
                                        null,
                                        Targets.names("intermediate.dense", "output.dense")),
                                head),
                        Start.NEARLY,
                        false),
                new Row("HFT", HftConfig.defaults().withRoundSteps(2).withModulesToSave(head), Start.NEARLY, false),
                new Row("bottleneck", new BottleneckConfig(4, BottleneckConfig.Activation.SWISH, 0, head), false),
                new Row(
                        "double_seq_bn",
                        BottleneckConfig.doubleSeqBn().toBuilder()
                                .reductionFactor(new ReductionFactor(4.0, Map.of(1, 8.0)))
                                .modulesToSave(head)
                                .build(),
                        false),
                new Row(
                        "seq_bn_inv",
                        BottleneckConfig.seqBnInv().toBuilder()
                                .reductionFactor(ReductionFactor.of(4))
                                .activation(BottleneckConfig.Activation.SWISH)
                                .modulesToSave(head)
                                .build(),
                        false),
                new Row("par_bn", BottleneckConfig.parBn().withModulesToSave(head), true),
                new Row(
                        "scaled_par_bn of two places",
                        BottleneckConfig.scaledParBn().toBuilder()
                                .mhAdapter(true)
                                .activation(BottleneckConfig.Activation.SWISH)
                                .modulesToSave(head)
                                .build(),
                        true),
                new Row("compacter", compacter().build(), false),
                new Row(
                        "compacter with one W",
                        compacter()
                                .phm(new PhmConfig(
                                        2,
                                        new PhmConfig.Rule(false, true, PhmConfig.RuleInit.UNIFORM, 0.1),
                                        new PhmConfig.Weights(2, true, true),
                                        false))
                                .build(),
                        false),
                new Row(
                        "seq_bn behind the norm, rational",
                        BottleneckConfig.builder()
                                .reductionFactor(ReductionFactor.of(4))
                                .activation(BottleneckConfig.Activation.RATIONAL)
                                .rationalInit(InitRational.TANH)
                                .scaling(Scaling.CHANNEL)
                                .norms(OriginalNorms.BEFORE)
                                .modulesToSave(head)
                                .build(),
                        false),
                new Row(
                        "mam",
                        BottleneckConfig.mam().toBuilder()
                                .reductionFactor(ReductionFactor.of(8))
                                .prefix(new BottleneckPrefix(3, 6))
                                .activation(BottleneckConfig.Activation.TANH)
                                .modulesToSave(head)
                                .build(),
                        false),
                new Row(
                        "AdapterFusion",
                        fusion(BottleneckConfig.seqBn()).modulesToSave(head).build(),
                        false),
                new Row(
                        "AdapterFusion, static, of two places",
                        fusion(BottleneckConfig.doubleSeqBn())
                                .value(false)
                                .regularization(false)
                                .queryBeforeLn(true)
                                .modulesToSave(head)
                                .build(),
                        false),
                new Row("unipelt", unipelt(BottleneckConfig.unipelt().toBuilder(), true), false),
                new Row(
                        "gates of two places, keys and values",
                        unipelt(
                                BottleneckConfig.builder()
                                        .mhAdapter(true)
                                        .activation(BottleneckConfig.Activation.TANH)
                                        .norms(OriginalNorms.BEFORE)
                                        .gate(true)
                                        .lora(new BottleneckLora(
                                                3, 0, Targets.names("key", "intermediate.dense", "output.dense"))),
                                false),
                        false),
                new Row(
                        "adapter_plus",
                        BottleneckConfig.adapterPlus().toBuilder()
                                .reductionFactor(ReductionFactor.of(8))
                                .stochasticDepth(0)
                                .modulesToSave(head)
                                .build(),
                        Start.SOMETHING,
                        true),
                new Row("LiST", ListConfig.defaults().withR(4).withModulesToSave(head), Start.NEARLY, true),
                new Row(
                        "LiST of other layers",
                        ListConfig.defaults()
                                .withR(6)
                                .withInitStd(0.3)
                                .withLayers(TargetLayers.of("value", "intermediate.dense"))
                                .withModulesToSave(head),
                        false),
                new Row("LoReFT", reft(ReftConfig.loreft()).build(), false),
                new Row( // the last layer's last rows are read by nobody
                        "LoReFT of last tokens, too",
                        reft(ReftConfig.loreft())
                                .r(3)
                                .positions(2, 2)
                                .nonLinearity(ReftConfig.NonLinearity.TANH)
                                .layers(0, 1)
                                .build(),
                        false),
                new Row(
                        "NoReFT with tied weights",
                        reft(ReftConfig.noreft())
                                .r(2)
                                .positions(1, 1)
                                .tiedWeights(true)
                                .build(),
                        false),
                new Row("DiReFT", reft(ReftConfig.direft()).r(4).build(), false),
                new Row("IAPT", iapt(4, 8, 2).modulesToSave(head).build(), false),
                new Row(
                        "IAPT through the layers",
                        iapt(3, 8, 1)
                                .rationalVersion(RationalVersion.B)
                                .rationalDegrees(List.of(6, 5))
                                .rationalInit(InitRational.SWISH)
                                .promptInsertion(PromptInsertion.REPLACE)
                                .modulesToSave(head)
                                .build(),
                        false),
                new Row("X-LoRA", xlora().modulesToSave(head).build(), false),
                new Row(
                        "X-LoRA by layers, with trained experts",
                        xlora().depth(2)
                                .size(6)
                                .dropout(0)
                                .layerwiseScalings(true)
                                .useTrainableAdapters(true)
                                .modulesToSave(head)
                                .build(),
                        false),
                new Row("prefix tuning", new PrefixConfig(4, false, 0, InitPrefix.RANDOM, head), false),
                new Row("prefix tuning, projected", new PrefixConfig(3, true, 8, InitPrefix.RANDOM, head), false));
    }

    private static XLoraConfig.Builder xlora() {
        return XLoraConfig.builder()
                .adapters(XLoraExperts.of(
                        Fixtures.tinyBert().directory(), HeadKind.SEQUENCE, "query", "output.dense", 0));
    }

    private static FusionConfig.Builder fusion(BottleneckConfig like) {
        return FusionConfig.builder()
                .adapters(FusionExpertsOf.model(Fixtures.tinyBert().directory(), HeadKind.SEQUENCE, like));
    }

    private static BottleneckConfig unipelt(BottleneckConfig.Builder config, boolean sharedGate) {
        return config.reductionFactor(ReductionFactor.of(4))
                .prefix(new BottleneckPrefix(3, 6, sharedGate))
                .modulesToSave(List.of("classifier"))
                .build();
    }

    private static ReftConfig.Builder reft(ReftConfig config) {
        return config.toBuilder().dropout(0).modulesToSave(List.of("classifier"));
    }

    private static BottleneckConfig.Builder compacter() {
        return BottleneckConfig.compacter().toBuilder()
                .reductionFactor(ReductionFactor.of(4))
                .phm(new PhmConfig(
                        4,
                        new PhmConfig.Rule(true, false, PhmConfig.RuleInit.NORMAL, 0.3),
                        new PhmConfig.Weights(1, true, false),
                        true))
                .modulesToSave(List.of("classifier"));
    }

    private static LoraConfig taken(InitLora init, int iterations) {
        return LoraConfig.builder()
                .r(4)
                .alpha(6)
                .init(init)
                .svdIterations(iterations)
                .rankPattern(Map.of("value", 2))
                .modulesToSave(List.of("classifier"))
                .build();
    }

    /** Of a start from data, whose ranks stay what they are. */
    private static LoraConfig seen(InitLora init) {
        DataStart own = init == InitLora.EVA
                ? DataStart.defaults().withEva(new EvaConfig(1, 0.99, true, false, true))
                : DataStart.defaults();
        LoraConfig.Builder lora = taken(init, 0).toBuilder().dataStart(own);
        return init == InitLora.EVA ? lora.rankPattern(Map.of()).build() : lora.build();
    }

    private static IaptConfig.Builder iapt(int tokens, int bottleneck, int share) {
        return IaptConfig.builder()
                .virtualTokens(tokens)
                .bottleneckSize(bottleneck)
                .shareGroup(share);
    }

    static Stream<Row> rowsAndOnesWithDropout() {
        return Stream.concat(
                rows(),
                Stream.of(
                        new Row(
                                "lora with dropout",
                                LoraConfig.builder().dropout(0.3).build(),
                                true),
                        new Row(
                                "AdaLoRA with dropout",
                                AdaLoraConfig.builder().dropout(0.3).build(),
                                true),
                        new Row(
                                "X-LoRA with dropout",
                                xlora().adapters(XLoraExperts.of(
                                                Fixtures.tinyBert().directory(),
                                                HeadKind.SEQUENCE,
                                                "query",
                                                "key",
                                                0.2))
                                        .depth(3)
                                        .size(8)
                                        .dropout(0.3)
                                        .build(),
                                false),
                        new Row(
                                "AdapterFusion with dropout",
                                fusion(BottleneckConfig.seqBn()).dropout(0.3).build(),
                                false),
                        new Row(
                                "HiRA with dropout",
                                new HiraConfig(2, 0.2, InitHira.KAIMING, TargetLayers.of("key", "query"), List.of()),
                                true),
                        new Row(
                                "DoRA with dropout",
                                LoraConfig.builder().dora(true).dropout(0.3).build(),
                                true),
                        new Row(
                                "P-tuning with dropout",
                                new PTuningConfig(3, Encoder.LSTM, 6, 3, 0.3, List.of()),
                                false),
                        new Row(
                                "MiSS with dropout",
                                new MissConfig(4, 1, MissVariant.PLAIN, 0.3, TargetLayers.modelDefault(), List.of()),
                                true),
                        new Row(
                                "GraLoRA with dropout",
                                new GraloraConfig(
                                        new GraloraRanks(4, 2, 2), 8, 0.3, TargetLayers.modelDefault(), List.of()),
                                true),
                        new Row(
                                "LoReFT with dropout",
                                ReftConfig.builder().dropout(0.3).build(),
                                false),
                        new Row(
                                "adapter_plus with stochastic depth",
                                BottleneckConfig.adapterPlus().toBuilder()
                                        .reductionFactor(ReductionFactor.of(8))
                                        .stochasticDepth(0.4)
                                        .build(),
                                false),
                        new Row(
                                "unipelt with dropout",
                                unipelt(
                                        BottleneckConfig.unipelt().toBuilder()
                                                .lora(new BottleneckLora(2, 0.3, Targets.names("key", "query")))
                                                .dropout(0.2),
                                        false),
                                false),
                        new Row(
                                "bottleneck with dropout",
                                new BottleneckConfig(4, BottleneckConfig.Activation.RELU, 0.3, List.of()),
                                false)));
    }

    private final Fixtures.Sentences sentences = Fixtures.tinySentences();
    private HeadedModel model;

    @TempDir
    Path directory;

    @BeforeEach
    void open() throws Exception {
        model = HeadedModel.open(Fixtures.tinyBert(), ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
    }

    @AfterEach
    void close() {
        model.close();
    }

    private Adapter fresh(Row row, long seed) {
        String name = row.name() + "1".repeat((int) seed); // names contain one another
        return attach(Methods.of(row.config()), row.config(), name, seed);
    }

    private <C extends MethodConfig> Adapter attach(Method<C> method, MethodConfig config, String name, long seed) {
        int[] lengths = IntStream.range(0, sentences.packing().sequences())
                .map(sentences.packing()::length)
                .toArray();
        return FirstLooks.attach(method, config, name, model, seed, sentences.tokens(), lengths);
    }

    /** An adapter whose values are all random: a trained one. */
    private Adapter trained(Row row, long seed) {
        Adapter adapter = fresh(row, seed);
        for (Parameter parameter : adapter.parameters().values()) {
            try (PointerScope scope = new PointerScope()) {
                parameter.set(Tensors.toFloats(parameter
                        .value()
                        .add(org.peft4j.nn.Init.normal(seed, parameter.path(), 0.1, parameter.shape()))));
            }
        }
        return adapter;
    }

    private float[] logits(HeadedModel of, Adapter... adapters) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing(), adapters)) {
            return Tensors.toFloats(of.outputs(Tokens.of(sentences.tokens()), context));
        }
    }

    private void backward(Adapter adapter, long seed) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(sentences.packing(), seed, adapter)) {
            Tensor logits = model.outputs(Tokens.of(sentences.tokens()), context);
            torch.cross_entropy_loss(logits, Tensors.ofLongs(new long[] {0, 1, 0, 1, 1}, 5))
                    .backward();
            context.backward();
        }
    }

    @Test
    void everyMethodHasARow() {
        Set<Method<?>> found = rows().map(row -> Methods.of(row.config())).collect(Collectors.toSet());
        found.add(Methods.of(AdaptionPromptConfig.defaults())); // not for BERT: AdaptionPromptTest
        assertThat(found).containsExactlyInAnyOrderElementsOf(Methods.all());
    }

    @ParameterizedTest
    @MethodSource("rows")
    void aFreshAdapterChangesNothingIfItSaysSo(Row row) {
        try (Adapter adapter = fresh(row, 1)) {
            if (row.identity()) {
                // A module that is trained as a whole goes through another product: equal, but not bit by bit.
                assertThat(maxDifference(logits(model, adapter), logits(model))).isLessThan(1e-6);
                Row bare = new Row(row.name(), row.config().withModulesToSave(List.of()), true);
                try (Adapter plain = fresh(bare, 1)) {
                    assertThat(logits(model, plain)).isEqualTo(logits(model));
                }
            } else if (row.start() == Start.NEARLY) {
                assertThat(maxDifference(logits(model, adapter), logits(model))).isLessThan(1e-4);
            } else {
                assertThat(maxDifference(logits(model, adapter), logits(model))).isGreaterThan(TOLERANCE);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void withoutItTheModelIsTheBaseAgain(Row row) {
        float[] base = logits(model);
        try (Adapter adapter = trained(row, 1)) {
            assertThat(maxDifference(logits(model, adapter), base)).isGreaterThan(1e-3);
            assertThat(logits(model)).isEqualTo(base);
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void theSameSeedGivesTheSameAdapter(Row row) {
        try (Adapter one = fresh(row, 7);
                Adapter two = fresh(row, 7);
                Adapter other = fresh(row, 8)) {
            assertThat(logits(model, one)).isEqualTo(logits(model, two));
            one.parameters()
                    .forEach((path, parameter) -> assertThat(Tensors.toFloats(parameter.value()))
                            .as(path)
                            .isEqualTo(
                                    Tensors.toFloats(two.parameters().get(path).value())));
            assertThat(other.parameters().values().stream()
                            .anyMatch(parameter -> !Arrays.equals(
                                    Tensors.toFloats(parameter.value()),
                                    Tensors.toFloats(one.parameters()
                                            .get(parameter.path())
                                            .value()))))
                    .isEqualTo(row.random());
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void itHasAsManyParametersAsItSays(Row row) {
        try (Adapter adapter = fresh(row, 1)) {
            assertThat(adapter.elements()).isEqualTo(count(Methods.of(row.config()), row.config()));
        }
    }

    private <C extends MethodConfig> long count(Method<C> method, MethodConfig config) {
        return method.parameterCount(method.configType().cast(config), model.points());
    }

    @ParameterizedTest
    @MethodSource("rows")
    void onlyItsParametersGetGradientsAndAllOfThem(Row row) {
        try (Adapter adapter = trained(row, 1)) {
            backward(adapter, 1);
            adapter.parameters().values().forEach(parameter -> {
                try (PointerScope scope = new PointerScope()) {
                    Tensor gradient = parameter.value().grad();
                    assertThat(gradient.defined()).as(parameter.path()).isTrue();
                    // Keys' biases move all scores of a row alike: their gradient is 0 by the softmax.
                    if (!parameter.path().endsWith("key.bias")) {
                        assertThat(gradient.abs().sum().item_double())
                                .as(parameter.path())
                                .isGreaterThan(0);
                    }
                }
            });
            for (TensorPoint point : model.points().tensors().values()) {
                assertThat(point.value().requires_grad()).as(point.path()).isFalse();
            }
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void gradientsEqualDifferences(Row row) throws Exception {
        Assumptions.assumeFalse(
                row.config() instanceof LoraConfig lora && lora.dora(),
                "DoRA's norms have no gradient by definition; PeftMethodsTest compares it with PEFT's");
        // Float32 forward: a directional difference of all parameters at once, against the sum of gradients.
        HeadedModel still = HeadedModel.open(
                Fixtures.tinyBert(), new ModelOptions(false, false, 0), HeadKind.SEQUENCE, HeadOptions.of(2));
        try (still;
                Adapter adapter = trained(row, 3)) {
            try (PointerScope scope = new PointerScope();
                    ForwardContext context = ForwardContext.training(sentences.packing(), 1, adapter)) {
                still.outputs(Tokens.of(sentences.tokens()), context).sum().backward();
                context.backward();
            }
            double slope = 0;
            List<float[]> directions = new ArrayList<>();
            List<float[]> values = new ArrayList<>();
            for (Parameter parameter : adapter.parameters().values()) {
                try (PointerScope scope = new PointerScope()) {
                    float[] direction =
                            Tensors.toFloats(org.peft4j.nn.Init.normal(5, parameter.path(), 1, parameter.shape()));
                    float[] gradient = Tensors.toFloats(parameter.value().grad());
                    for (int i = 0; i < gradient.length; i++) {
                        slope += (double) gradient[i] * direction[i];
                    }
                    directions.add(direction);
                    values.add(Tensors.toFloats(parameter.value()));
                }
            }
            double eps = 2e-3;
            double difference = (shifted(still, adapter, values, directions, eps)
                            - shifted(still, adapter, values, directions, -eps))
                    / (2 * eps);
            assertThat(difference).isCloseTo(slope, org.assertj.core.data.Offset.offset(0.02 * Math.abs(slope) + 0.02));
        }
    }

    private double shifted(
            HeadedModel of, Adapter adapter, List<float[]> values, List<float[]> directions, double eps) {
        int index = 0;
        for (Parameter parameter : adapter.parameters().values()) {
            float[] moved = values.get(index).clone();
            for (int i = 0; i < moved.length; i++) {
                moved[i] += (float) (eps * directions.get(index)[i]);
            }
            parameter.set(moved);
            index++;
        }
        double sum = 0;
        for (float logit : logits(of, adapter)) {
            sum += logit;
        }
        return sum;
    }

    @ParameterizedTest
    @MethodSource("rows")
    void twoForwardsAndBackwardsGiveTheSameBits(Row row) {
        try (Adapter one = trained(row, 1);
                Adapter two = trained(row, 1)) {
            backward(one, 9); // with dropout
            backward(two, 9);
            one.parameters()
                    .forEach((path, parameter) -> assertThat(
                                    Tensors.toFloats(parameter.value().grad()))
                            .as(path)
                            .isEqualTo(Tensors.toFloats(
                                    two.parameters().get(path).value().grad())));
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void savedAndLoadedItIsTheSame(Row row) throws Exception {
        try (Adapter adapter = trained(row, 1)) {
            AdapterStore.write(directory, adapter, row.config(), model.points(), "tiny-bert", "SEQ_CLS");
            AdapterStore.Loaded loaded = AdapterStore.read(directory, "again", model.points());
            if (row.config() instanceof LoraConfig lora
                    && lora.init().takesFromWeight()) { // in the file both parts are one
                assertThat(maxDifference(logits(model, loaded.adapter()), logits(model, adapter)))
                        .isLessThan(TOLERANCE);
            } else {
                assertThat(logits(model, loaded.adapter())).isEqualTo(logits(model, adapter));
            }
            assertThat(loaded.notes().stream().filter(note -> note.contains("target")))
                    .isEmpty();
            loaded.adapter().close();
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void aFileWithATensorTooFewOrTooManyIsRefused(Row row) throws Exception {
        try (Adapter adapter = trained(row, 1)) {
            AdapterStore.write(directory, adapter, row.config(), model.points(), "tiny-bert", "SEQ_CLS");
            Map<String, Object> config =
                    new java.util.LinkedHashMap<>(AdapterFiles.read(directory).config());
            List<TensorData> tensors =
                    new ArrayList<>(AdapterFiles.read(directory).tensors().values());
            TensorData first = tensors.get(0);
            AdapterFiles.write(directory, config, tensors.subList(1, tensors.size()));
            assertThatThrownBy(() -> AdapterStore.read(directory, "less", model.points()))
                    .isInstanceOf(org.peft4j.error.MalformedFileException.class);
            tensors.add(TensorData.ofFloats("base_model.model.bert.nothing.weight", List.of(1L), new float[] {1}));
            AdapterFiles.write(directory, config, tensors);
            assertThatThrownBy(() -> AdapterStore.read(directory, "more", model.points()))
                    .hasMessageContaining("bert.nothing.weight");
            assertThat(first.name()).isNotEmpty();
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void itMergesOrSaysWhyNot(Row row) {
        Method<?> method = Methods.of(row.config());
        try (Adapter adapter = trained(row, 1);
                PointerScope scope = new PointerScope()) {
            if (Methods.mergeRefusal(row.config()).isPresent()) {
                assertThatThrownBy(() -> method.merged(adapter, model.points()))
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessageContaining("cannot be merged");
                return;
            }
            float[] base = logits(model);
            float[] unmerged = logits(model, adapter);
            try (HeadedModel merged = model.withTensors(method.merged(adapter, model.points()))) {
                assertThat(maxDifference(logits(merged), unmerged)).isLessThan(TOLERANCE);
            }
            assertThat(logits(model))
                    .as("unmerging is to use the model that was there")
                    .isEqualTo(base);
            Parameter broken = adapter.parameters().values().iterator().next();
            float[] values = Tensors.toFloats(broken.value());
            values[0] = Float.NaN;
            broken.set(values);
            assertThatThrownBy(() -> method.merged(adapter, model.points()))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("not finite");
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void trainingOneAdapterDoesNotTouchAnother(Row row) {
        try (Adapter one = trained(row, 1);
                Adapter two = trained(row, 2)) {
            float[] before = logits(model, two);
            backward(one, 1);
            one.parameters().values().forEach(parameter -> parameter.set(new float[(int) parameter.elements()]));
            assertThat(logits(model, two)).isEqualTo(before);
            two.parameters()
                    .values()
                    .forEach(parameter ->
                            assertThat(parameter.value().grad().defined()).isFalse());
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void rowsOfOneBatchBelongToDifferentAdapters(Row row) {
        Set<Row> others = new LinkedHashSet<>(rows().toList());
        others.removeIf(other -> other.name().equals(row.name()));
        try (Adapter one = trained(row, 1);
                Adapter two = trained(row, 2);
                Adapter other = trained(others.iterator().next(), 3)) {
            List<Adapter> adapterOf = new ArrayList<>(List.of(one, two, other));
            adapterOf.add(null);
            adapterOf.add(one);
            float[] mixed;
            try (PointerScope scope = new PointerScope();
                    ForwardContext context = ForwardContext.inference(sentences.packing(), adapterOf)) {
                mixed = Tensors.toFloats(model.outputs(Tokens.of(sentences.tokens()), context));
            }
            for (int s = 0; s < adapterOf.size(); s++) {
                Fixtures.Sentences own = sentences.only(s);
                Adapter[] adapters = adapterOf.get(s) == null ? new Adapter[0] : new Adapter[] {adapterOf.get(s)};
                try (PointerScope scope = new PointerScope();
                        ForwardContext context = ForwardContext.inference(Packing.of(own.lengths()), adapters)) {
                    float[] alone = Tensors.toFloats(model.outputs(Tokens.of(own.tokens()), context));
                    assertThat(maxDifference(alone, Arrays.copyOfRange(mixed, 2 * s, 2 * s + 2)))
                            .as("sentence " + s)
                            .isLessThan(TOLERANCE);
                }
            }
            float[] before = logits(model, one);
            two.close();
            two.close(); // one that is gone
            other.close();
            assertThat(logits(model, one)).as("the others are gone").isEqualTo(before);
        }
    }

    @ParameterizedTest
    @MethodSource("rows")
    void adaptersOfOneBatchGetTheirOwnRowsGradients(Row row) {
        try (Adapter one = trained(row, 1);
                Adapter two = trained(row, 2)) {
            List<Adapter> adapterOf = Arrays.asList(one, one, two, two, null);
            try (PointerScope scope = new PointerScope();
                    ForwardContext context = ForwardContext.training(sentences.packing(), 1, adapterOf)) {
                model.outputs(Tokens.of(sentences.tokens()), context)
                        .narrow(0, 0, 2)
                        .sum()
                        .backward();
                context.backward();
            }
            assertThat(one.parameters().values().stream()
                            .allMatch(parameter -> parameter.value().grad().defined()))
                    .isTrue();
            two.parameters().values().forEach(parameter -> {
                try (PointerScope scope = new PointerScope()) {
                    Tensor gradient = parameter.value().grad();
                    assertThat(!gradient.defined() || gradient.abs().max().item_double() == 0)
                            .as("%s: rows of another adapter", parameter.path())
                            .isTrue();
                }
            });
        }
    }

    /** One batch with rows of every method, each as if it were alone. */
    @Test
    void rowsOfAllMethodsMixInOneBatch() {
        List<Adapter> all = new ArrayList<>();
        rows().forEach(row -> all.add(trained(row, 4)));
        try {
            List<Adapter> adapterOf = new ArrayList<>(all);
            adapterOf.add(3, null);
            int[] lengths = new int[adapterOf.size()];
            List<Integer> tokens = new ArrayList<>();
            List<Fixtures.Sentences> texts = new ArrayList<>();
            for (int s = 0; s < lengths.length; s++) {
                Fixtures.Sentences own = sentences.only(s % sentences.lengths().length);
                texts.add(own);
                lengths[s] = own.tokens().length;
                Arrays.stream(own.tokens()).forEach(tokens::add);
            }
            float[] mixed;
            int[] joined = tokens.stream().mapToInt(Integer::intValue).toArray();
            try (PointerScope scope = new PointerScope();
                    ForwardContext context = ForwardContext.inference(Packing.of(lengths), adapterOf)) {
                mixed = Tensors.toFloats(model.outputs(Tokens.of(joined), context));
            }
            for (int s = 0; s < lengths.length; s++) {
                Adapter adapter = adapterOf.get(s);
                Adapter[] adapters = adapter == null ? new Adapter[0] : new Adapter[] {adapter};
                try (PointerScope scope = new PointerScope();
                        ForwardContext context = ForwardContext.inference(Packing.of(lengths[s]), adapters)) {
                    float[] alone = Tensors.toFloats(
                            model.outputs(Tokens.of(texts.get(s).tokens()), context));
                    assertThat(maxDifference(alone, Arrays.copyOfRange(mixed, 2 * s, 2 * s + 2)))
                            .as(adapter == null ? "the base" : adapter.name())
                            .isLessThan(TOLERANCE);
                }
            }
        } finally {
            all.forEach(Adapter::close);
        }
    }

    /** Blocks that are computed again in backward give the same bits, dropout and all. */
    @ParameterizedTest
    @MethodSource("rowsAndOnesWithDropout")
    void recomputedBlocksGiveTheSameGradients(Row row) {
        try (Adapter one = trained(row, 1);
                Adapter two = trained(row, 1);
                RecomputedBlocks recomputed = new RecomputedBlocks()) {
            float[] plain = through(BlockRunner.plain(), one);
            assertThat(through(recomputed, two)).isEqualTo(plain);
            one.parameters().forEach((path, parameter) -> {
                try (PointerScope scope = new PointerScope()) {
                    float[] again =
                            Tensors.toFloats(two.parameters().get(path).value().grad());
                    float[] once = Tensors.toFloats(parameter.value().grad());
                    if (path.startsWith(AdaptedLayers.SHARED)
                            || path.contains("xlora")) { // what layers share is added up block by block
                        assertThat(maxDifference(again, once)).as(path).isLessThan(1e-6);
                    } else {
                        assertThat(again).as(path).isEqualTo(once);
                    }
                }
            });
        }
    }

    private float[] through(BlockRunner runner, Adapter adapter) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(sentences.packing(), 9, adapter)) {
            ReadRows reads = model.head().reads();
            Tensor h = runner.forward(model.model(), Tokens.of(sentences.tokens()), reads, context);
            Tensor logits = model.head().forward(h, reads.packing(context), context);
            float[] values = Tensors.toFloats(logits);
            runner.backward(torch.cross_entropy_loss(logits, Tensors.ofLongs(new long[] {0, 1, 0, 1, 1}, 5)), context);
            return values;
        }
    }
}
