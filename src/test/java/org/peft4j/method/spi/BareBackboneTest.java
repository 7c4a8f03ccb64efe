package org.peft4j.method.spi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.ModelPart;
import org.peft4j.method.ModelParts;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.osf.OsfConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.tokens.TrainableTokensConfig;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;

/**
 * Adapters of a backbone alone. PEFT has them of {@code AutoModel}, whose modules have paths without {@code bert.} or
 * {@code model.}; the same adapter may be used, and go on, below a head, where paths have it.
 */
class BareBackboneTest {
    private static final Map<String, Path> BASES =
            Map.of("adapters", Fixtures.TINY_BERT, "tiny-llama", Fixtures.TINY_LLAMA);

    private final List<AutoCloseable> opened = new ArrayList<>();

    @TempDir
    Path dir;

    @AfterEach
    void close() throws Exception {
        for (int i = opened.size() - 1; i >= 0; i--) {
            opened.get(i).close();
        }
    }

    private HeadedModel open(Path directory, HeadKind kind) throws Exception {
        HeadedModel model =
                HeadedModel.open(ModelDirectory.open(directory), ModelOptions.defaults(), kind, HeadOptions.of(2));
        opened.add(model);
        return model;
    }

    private AdapterStore.Loaded read(Path directory, HeadedModel model) throws Exception {
        AdapterStore.Loaded loaded = AdapterStore.read(directory, "default", model.points());
        opened.add(loaded.adapter());
        return loaded;
    }

    private Path written(String name, AdapterStore.Loaded loaded, HeadedModel model) throws Exception {
        return written(name, loaded.adapter(), loaded.config(), model);
    }

    private Path written(String name, Adapter adapter, MethodConfig config, HeadedModel model) throws Exception {
        Path to = dir.resolve(name);
        AdapterStore.write(to, adapter, config, model.points(), "base", "FEATURE_EXTRACTION");
        return to;
    }

    private static float[] hidden(HeadedModel model, Adapter adapter, Path base) {
        Fixtures.Sentences sentences = Fixtures.sentences(Fixtures.read(base.resolve("expected.safetensors")));
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing(), adapter)) {
            return Tensors.toFloats(
                    BlockRunner.plain().forward(model.model(), Tokens.of(sentences.tokens()), ReadRows.TEXT, context));
        }
    }

    @ParameterizedTest
    @CsvSource({
        "adapters, bare-lora",
        "adapters, bare-ia3",
        "adapters, bare-trainable-tokens",
        "adapters, bare-prompt-tuning",
        "tiny-llama, bare-lora",
        "tiny-llama, bare-saved"
    })
    void pefts(String folder, String name) throws Exception {
        Path base = BASES.get(folder);
        Path theirs = Fixtures.ROOT.resolve(folder).resolve(name);
        float[] expected = Fixtures.read(theirs.resolve("expected.safetensors"))
                .get("last_hidden_state")
                .toFloats();
        HeadedModel alone = open(base, HeadKind.NONE);
        HeadedModel headed = open(base, folder.equals("adapters") ? HeadKind.SEQUENCE : HeadKind.LANGUAGE);
        AdapterStore.Loaded here = read(theirs, alone);
        AdapterStore.Loaded below = read(theirs, headed);
        assertThat(here.notes()).isEmpty();
        assertThat(below.notes()).isEmpty();
        assertThat(maxDifference(hidden(alone, here.adapter(), base), expected)).isLessThan(1e-4);
        assertThat(maxDifference(hidden(headed, below.adapter(), base), expected))
                .isLessThan(1e-4);

        AdapterFile file = AdapterFiles.read(theirs);
        Path back = written("back", here, alone);
        assertThat(AdapterFiles.read(back).tensors().keySet())
                .containsExactlyInAnyOrderElementsOf(file.tensors().keySet());
        Path withBackbone = written("with-backbone", below, headed);
        assertThat(AdapterFiles.read(withBackbone).tensors().keySet())
                .allMatch(key -> key.equals("prompt_embeddings")
                        || key.startsWith("base_model.model." + alone.points().backbone()));
        for (Path ours : List.of(back, withBackbone)) {
            for (HeadedModel model : List.of(alone, headed)) {
                AdapterStore.Loaded again = read(ours, model);
                assertThat(again.notes()).isEmpty();
                assertThat(maxDifference(hidden(model, again.adapter(), base), expected))
                        .isLessThan(1e-4);
            }
        }
    }

    private Adapter trained(MethodConfig config, HeadedModel model) {
        return trained(Methods.of(config), config, model);
    }

    private <C extends MethodConfig> Adapter trained(Method<C> method, MethodConfig config, HeadedModel model) {
        Adapter adapter = method.attach("default", method.configType().cast(config), model.points(), 1);
        opened.add(adapter);
        Random random = new Random(7);
        for (Parameter parameter : adapter.parameters().values()) {
            float[] values = Tensors.toFloats(parameter.value());
            for (int i = 0; i < values.length; i++) {
                values[i] += (float) (0.2 * random.nextGaussian());
            }
            parameter.set(values);
        }
        return adapter;
    }

    /** Words of a run file are about whole paths; the file says the same of AutoModel's. */
    @Test
    void ours() throws Exception {
        Path base = Fixtures.TINY_BERT;
        HeadedModel alone = open(base, HeadKind.NONE);
        List<MethodConfig> configs = List.of(
                LoraConfig.builder()
                        .r(3)
                        .targets(Targets.regex("bert\\.encoder\\.layer\\.[01]\\.attention\\.self\\.(query|value)"))
                        .rankPattern(Map.of("^bert\\.encoder\\.layer\\.1\\.attention\\.self\\.value", 2))
                        .alphaPattern(Map.of("bert.encoder.layer.0.attention.self.query", 40.0))
                        .modulesToSave(List.of("bert.embeddings.LayerNorm"))
                        .build(),
                LoraConfig.builder()
                        .r(3)
                        .targets("query", "value")
                        .layersToTransform(List.of(1))
                        .build(),
                new Ia3Config(
                        Targets.names("bert.encoder.layer.0.output.dense", "key"),
                        Targets.names("bert.encoder.layer.0.output.dense"),
                        Targets.names("bert.encoder.layer.2.attention.self.key"),
                        List.of()),
                new TrainableTokensConfig(
                        List.of(5, 7), Targets.regex("bert\\.embeddings\\.word_embeddings"), List.of()),
                new PromptConfig(3, List.of("encoder.layer.2.output.LayerNorm")),
                BitFitConfig.defaults(),
                FullConfig.of(ModelParts.layers(-1)
                        .withTargets(Targets.regex("bert\\.encoder\\..*"))
                        .withoutModules(Targets.names("bert.encoder.layer.2.output.LayerNorm"))),
                HftConfig.defaults().withChosen(ModelParts.of(ModelPart.EMBEDDINGS, ModelPart.BLOCKS)),
                OsfConfig.defaults()
                        .withRankPattern(Map.of("^bert\\.encoder\\.layer\\.1", 3.0))
                        .withLayers(TargetLayers.of("bert.encoder.layer.1.output.dense", "key")),
                BottleneckConfig.defaults(),
                ReftConfig.builder().positions(2, 1).layers(0, 2).build(),
                BottleneckConfig.doubleSeqBn().toBuilder()
                        .reductionFactor(ReductionFactor.of(4))
                        .phm(PhmConfig.defaults())
                        .prefix(new BottleneckPrefix(2, 3))
                        .build());
        for (int i = 0; i < configs.size(); i++) {
            Adapter adapter = trained(configs.get(i), alone);
            Path file = written("adapter-" + i, adapter, configs.get(i), alone);
            assertThat(AdapterFiles.read(file).tensors().keySet())
                    .as(configs.get(i).toString())
                    .noneMatch(key -> key.contains("bert."));
            assertThat(String.valueOf(AdapterFiles.read(file).config())
                            .replace("init_weights=bert", "a start by this name"))
                    .doesNotContain("bert");
            float[] expected = hidden(alone, adapter, base);
            for (HeadedModel model : List.of(alone, open(base, HeadKind.SEQUENCE))) {
                AdapterStore.Loaded again = read(file, model);
                assertThat(again.notes()).as(configs.get(i).toString()).isEmpty();
                assertThat(maxDifference(hidden(model, again.adapter(), base), expected))
                        .isLessThan(1e-6);
            }
        }
    }

    /** PEFT finds modules by the ends of their paths, and more of them end with {@code norm} than with {@code model.norm}. */
    @Test
    void refusesASavedModuleWhoseNameMeansMoreWithoutTheBackbones() throws Exception {
        HeadedModel alone = open(Fixtures.TINY_LLAMA, HeadKind.NONE);
        HeadedModel headed = open(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE);
        for (MethodConfig config : List.of(
                LoraConfig.builder().modulesToSave(List.of("model.norm")).build(),
                new PromptConfig(2, List.of("model.norm")))) {
            Adapter adapter = trained(config, alone);
            String name = Methods.of(config).name();
            assertThatThrownBy(() -> written(name, adapter, config, alone))
                    .isInstanceOf(ConfigException.class)
                    .hasMessage("modules_to_save: 'model.norm' is 'norm' in the files of a backbone alone, and Hugging"
                            + " Face PEFT takes that for every module whose path ends so, 4 more"
                            + " (model.layers.0.input_layernorm); write 'norm' if all of them are meant, else"
                            + " leave it out");
            assertThat(dir.resolve(name)).doesNotExist();

            Path file = written(name, trained(config, headed), config, headed);
            assertThat(AdapterFiles.read(file).tensors().keySet())
                    .filteredOn(key -> key.endsWith("norm.weight"))
                    .hasSize(1);
        }
    }

    /** PEFT finds no layer's number in {@code layers.0.self_attn}, so the layers are written out. */
    @Test
    void layersOfALlama() throws Exception {
        HeadedModel alone = open(Fixtures.TINY_LLAMA, HeadKind.NONE);
        LoraConfig config = LoraConfig.builder()
                .targets("q_proj", "up_proj")
                .layersToTransform(List.of(1))
                .build();
        Path file = written("adapter", trained(config, alone), config, alone);
        Map<String, Object> written = AdapterFiles.read(file).config();
        assertThat(written.get("target_modules"))
                .isEqualTo(List.of("layers.1.mlp.up_proj", "layers.1.self_attn.q_proj"));
        assertThat(written).containsEntry("layers_to_transform", null);
        assertThat(AdapterFiles.read(file).tensors().keySet())
                .allMatch(key -> key.startsWith("base_model.model.layers.1."));
        assertThat(read(file, alone).notes()).isEmpty();
    }
}
