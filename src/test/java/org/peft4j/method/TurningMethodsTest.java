package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.method.boft.BoftBlocks;
import org.peft4j.method.boft.BoftConfig;
import org.peft4j.method.c3a.BlockSizes;
import org.peft4j.method.c3a.C3aConfig;
import org.peft4j.method.fourierft.FourierFtConfig;
import org.peft4j.method.fourierft.Frequencies;
import org.peft4j.method.gralora.GraloraConfig;
import org.peft4j.method.gralora.GraloraRanks;
import org.peft4j.method.hra.HraConfig;
import org.peft4j.method.miss.MissConfig;
import org.peft4j.method.miss.MissVariant;
import org.peft4j.method.oft.OftBlocks;
import org.peft4j.method.road.RoadConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.spi.PatternRule;
import org.peft4j.method.spi.TorchRandom;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;

/** What methods that turn or structure refuse, and sizes and draws that are PEFT's. */
class TurningMethodsTest {
    private static final Path ROOT = Fixtures.ROOT.resolve("methods");

    private HeadedModel model;

    @TempDir
    Path dir;

    @BeforeEach
    void open() throws Exception {
        model = HeadedModel.open(Fixtures.tinyBert(), ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
    }

    @AfterEach
    void close() {
        model.close();
    }

    private AdapterStore.Loaded load(String fixture, String settings) throws Exception {
        AdapterFile file = AdapterFiles.read(ROOT.resolve(fixture).resolve("tiny-bert"));
        Map<String, Object> config = new LinkedHashMap<>(file.config());
        Json.readObject(Path.of("settings"), settings.getBytes()).forEach((key, value) -> {
            if ("absent".equals(value)) {
                config.remove(key);
            } else {
                config.put(key, value);
            }
        });
        AdapterFiles.write(dir, config, List.copyOf(file.tensors().values()));
        return AdapterStore.read(dir, "default", model.points());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "oft|{\"coft\": true}|coft",
                "oft|{\"module_dropout\": 0.1}|module_dropout",
                "oft|{\"peft_version\": \"0.17.1\"}|peft_version must be 0.18 or later",
                "oft|{\"peft_version\": \"absent\"}|peft_version must be 0.18 or later",
                "oft|{\"oft_block_size\": \"absent\"}|oft_block_size must be there",
                "oft|{\"r\": 4}|r must be 0 where oft_block_size is not",
                "oft|{\"num_cayley_neumann_terms\": 1}|num_cayley_neumann_terms must be at least 2",
                "oft|{\"bias\": \"all\"}|bias",
                "boft|{\"boft_dropout\": 0.1}|boft_dropout",
                "boft|{\"boft_block_size\": 5}|boft_block_size must divide",
                "boft|{\"boft_n_butterfly_factor\": 0}|boft_n_butterfly_factor must be from 1",
                "hra|{\"r\": 0}|r must be at least 1",
                "road-1|{\"variant\": \"road_3\"}|variant must be road_1, road_2 or road_4",
                "road-1|{\"group_size\": 7}|group_size must be even",
                "miss|{\"init_weights\": \"fast\"}|init_weights must be",
                "miss-bat|{\"r\": 5}|r must divide",
                "miss-mini|{\"mini_r\": 5}|mini_r must divide",
                "c3a|{\"block_size\": 7}|block_size must divide",
                "c3a|{\"init_weights\": \"normal\"}|init_weights must be",
                "fourierft|{\"n_frequency\": 5000}|n_frequency must be at most",
                "fourierft|{\"random_loc_seed\": 1.5}|random_loc_seed must be",
                "gralora|{\"gralora_k\": 3}|r must be a multiple of gralora_k",
                "gralora|{\"gralora_dropout\": 1}|gralora_dropout must be in",
                "ln-tuning|{\"target_modules\": \"all-linear\"}|target_modules must name norms",
            })
    void whatDoesNotFitIsRefusedByItsKey(String fixture, String settings, String message) {
        assertThatThrownBy(() -> load(fixture, settings).adapter().close())
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(": " + message);
    }

    /** PEFT takes one factor where it cannot compile its kernel, and writes what was asked for. */
    @Test
    void theShapeSaysHowManyFactorsThereAre() throws Exception {
        try (Adapter adapter = load("boft", "{\"boft_n_butterfly_factor\": 2}").adapter()) {
            assertThat(adapter.parameters().values().iterator().next().shape()[0])
                    .isEqualTo(1);
        }
    }

    @Test
    void exactRotationsOfOldFilesAreRead() throws Exception {
        load("oft-exact", "{\"peft_version\": \"absent\"}").adapter().close();
    }

    private void refused(MethodConfig config, String message) {
        assertThatThrownBy(() -> attach(config).close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    private <C extends MethodConfig> Adapter attach(C config) {
        return Methods.of(config).attach("new", config, model.points(), 1);
    }

    @Test
    void sizesThatDoNotFitALayerAreNamed() {
        refused(HraConfig.defaults().withR(3), "r must be even");
        refused(HraConfig.defaults().withR(34), "r must be at most the 32 inputs of bert.encoder.layer.0.attention");
        refused(RoadConfig.defaults(), "groupSize must divide the 32 outputs");
        refused(MissConfig.defaults(), "r must be at most the 32 inputs");
        refused(MissConfig.defaults().withR(5).withVariant(MissVariant.BAT, 1), "r must divide the 32 inputs");
        refused(MissConfig.defaults().withR(5).withVariant(MissVariant.MINI, 3), "miniR must divide the 32 outputs");
        refused(C3aConfig.defaults().withBlocks(BlockSizes.of(12)), "blockSize must divide the 32 inputs");
        refused(
                FourierFtConfig.defaults().withFrequencies(Frequencies.of(1025)),
                "nFrequency must be at most the 1024 elements");
        refused(GraloraConfig.defaults().withRanks(new GraloraRanks(6, 0, 3)), "graloraK must divide the 32 inputs");
        refused(BoftConfig.defaults().withBlocks(new BoftBlocks(5, 0, 1)), "boftBlockSize must divide");
        refused(BoftConfig.defaults().withBlocks(new BoftBlocks(4, 0, 5)), "nButterflyFactor 5 needs blocks");
    }

    @Test
    void theNearestSizeThatDividesCountsAndTheLowerOfTwo() {
        assertThat(new OftBlocks(0, 32, false).size(48)).isEqualTo(24);
        assertThat(new OftBlocks(0, 10, false).size(32)).isEqualTo(8);
        assertThat(new OftBlocks(0, 12, false).size(32)).isEqualTo(8);
        assertThat(new OftBlocks(0, 13, false).size(32)).isEqualTo(16);
        assertThat(new OftBlocks(0, 64, false).size(32)).isEqualTo(32);
        assertThat(new OftBlocks(5, 0, false).size(32)).isEqualTo(8);
    }

    /** The first places of PEFT's draw of 32 times 32, and of 768 times 768. */
    @Test
    void placesOfFrequenciesArePefts() {
        assertThat(drawn(32 * 32, 3)).containsExactly(103, 249, 319);
        assertThat(drawn(768 * 768, 6)).containsExactly(391271, 183699, 413551, 384200, 435559, 59955);
    }

    private static long[] drawn(long n, int first) {
        try (PointerScope scope = new PointerScope();
                TorchRandom random = new TorchRandom(777)) {
            return Arrays.copyOf(Tensors.toLongs(random.permutation(n)), first);
        }
    }

    @Test
    void patternsAreReadAsPeftReadsThem() {
        Map<String, Integer> patterns = new LinkedHashMap<>();
        patterns.put("self.query", 1);
        patterns.put("query", 2);
        patterns.put("lm_head", 3);
        var values = PatternRule.SIZES.of(patterns);
        assertThat(values.apply("bert.layer.0.self.query")).contains(1);
        assertThat(values.apply("bert.layer.0.other.query")).contains(2);
        assertThat(values.apply("bert.layer.0.myquery")).isEmpty();
        assertThat(values.apply("lm_head")).contains(3); // the whole path
        Map<String, Integer> shortened = new HashMap<>(PatternRule.SIZES.respelled(
                Map.of("bert.encoder.layer.0.attention.self.query", 5),
                model.points().linears().stream().map(LinearPoint::path).toList(),
                path -> path,
                path -> path.replaceFirst("^bert\\.", "")));
        assertThat(shortened).containsOnly(Map.entry("encoder.layer.0.attention.self.query", 5));
    }
}
