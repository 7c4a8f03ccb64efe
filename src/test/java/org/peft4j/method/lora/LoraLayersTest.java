package org.peft4j.method.lora;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.peft4j.method.Targets;

class LoraLayersTest {
    @TestFactory
    Stream<DynamicTest> adaptsTheModulesThatPeftAdapts() throws IOException {
        JsonNode golden;
        try (InputStream in = LoraLayersTest.class.getResourceAsStream("/method/targets.json")) {
            golden = new ObjectMapper().readTree(in);
        }
        List<String> paths = new ArrayList<>();
        golden.path("paths").forEach(path -> paths.add(path.asText()));
        assertThat(golden.path("cases").size()).isGreaterThan(20);
        return golden.path("cases")
                .valueStream()
                .map(test -> DynamicTest.dynamicTest(test.path("settings").toString(), () -> compare(test, paths)));
    }

    private static void compare(JsonNode test, List<String> paths) {
        LoraConfig config = config(test.path("settings"));
        LoraLayers layers = new LoraLayers(config);
        Map<String, String> expected = new LinkedHashMap<>();
        Map<String, String> actual = new LinkedHashMap<>();
        for (String path : paths) {
            JsonNode peft = test.path("adapted").path(path);
            expected.put(
                    path,
                    peft.isMissingNode()
                            ? "no"
                            : peft.path("r").asInt() + " " + peft.path("alpha").asDouble());
            actual.put(path, layers.adapts(path) ? layers.rank(path) + " " + layers.alpha(path) : "no");
        }
        assertThat(actual).isEqualTo(expected);
    }

    private static LoraConfig config(JsonNode settings) {
        LoraConfig.Builder builder = LoraConfig.builder();
        JsonNode targets = settings.path("target_modules");
        builder.targets(targets.isTextual() ? Targets.of(targets.asText()) : Targets.names(texts(targets)));
        List<String> excluded = texts(settings.path("exclude_modules"));
        builder.excludeModules(excluded.isEmpty() ? null : Targets.names(excluded));
        builder.modulesToSave(texts(settings.path("modules_to_save")));
        builder.layersToTransform(texts(settings.path("layers_to_transform")).stream()
                .map(Integer::valueOf)
                .toList());
        JsonNode pattern = settings.path("layers_pattern");
        builder.layersPattern(pattern.isTextual() ? List.of(pattern.asText()) : texts(pattern));
        builder.r(settings.path("r").asInt(8)).alpha(settings.path("lora_alpha").asDouble(8));
        Map<String, Integer> ranks = new LinkedHashMap<>();
        settings.path("rank_pattern")
                .properties()
                .forEach(e -> ranks.put(e.getKey(), e.getValue().asInt()));
        Map<String, Double> alphas = new LinkedHashMap<>();
        settings.path("alpha_pattern")
                .properties()
                .forEach(e -> alphas.put(e.getKey(), e.getValue().asDouble()));
        return builder.rankPattern(ranks).alphaPattern(alphas).build();
    }

    private static List<String> texts(JsonNode array) {
        List<String> texts = new ArrayList<>();
        array.forEach(item -> texts.add(item.asText()));
        return texts;
    }

    @Test
    void allLinearTakesWhatItIsGivenButExcludedModules() {
        LoraLayers layers = new LoraLayers(LoraConfig.builder()
                .targets(Targets.allLinear())
                .excludeModules(Targets.names("pooler.dense"))
                .build());

        assertThat(layers.adapts("bert.encoder.layer.0.output.dense")).isTrue();
        assertThat(layers.adapts("bert.pooler.dense")).isFalse();
        assertThat(layers.isExcluded("bert.pooler.dense")).isTrue();
    }

    @Test
    void scaleIsAlphaByRankOrByItsRoot() {
        LoraConfig.Builder config = LoraConfig.builder().r(16).alpha(8).targets("query");

        assertThat(new LoraLayers(config.build()).scale("query")).isEqualTo(0.5);
        assertThat(new LoraLayers(config.rslora(true).build()).scale("query")).isEqualTo(2);
    }

    @Test
    void unresolvedTargetsAreRefused() {
        assertThatThrownBy(() -> new LoraLayers(LoraConfig.defaults()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("targets must be given");
    }

    @Test
    void usualTargetsAreFoundByModelType() {
        assertThat(LoraTargets.resolve(LoraConfig.defaults(), "bert").targets())
                .isEqualTo(Targets.names("query", "value"));
        LoraConfig given = LoraConfig.builder().targets("key").build();
        assertThat(LoraTargets.resolve(given, "bert")).isSameAs(given);
        assertThat(LoraTargets.usual("gemma3_text")).contains(Targets.names("q_proj", "v_proj"));
        assertThatThrownBy(() -> LoraTargets.resolve(LoraConfig.defaults(), "mamba"))
                .hasMessageContaining("model type 'mamba'");
    }
}
