package org.peft4j.method.lora;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.method.LayerReplication;
import org.peft4j.method.Targets;

class LoraConfigTest {
    static Stream<Arguments> wrong() {
        return Stream.of(
                wrong("r must be", b -> b.r(0)),
                wrong("alpha must be", b -> b.alpha(0)),
                wrong("alpha must be", b -> b.alpha(Double.NaN)),
                wrong("dropout must be", b -> b.dropout(1)),
                wrong("dropout must be", b -> b.dropout(-0.1)),
                wrong("dropout must be", b -> b.dropout(Double.NaN)),
                wrong(
                        "layersToTransform needs a list",
                        b -> b.targets(Targets.regex(".*")).layersToTransform(List.of(1))),
                wrong(
                        "layersToTransform needs a list",
                        b -> b.targets(Targets.allLinear()).layersToTransform(List.of(1))),
                wrong("layersToTransform must not", b -> b.targets("q").layersToTransform(List.of(-1))),
                wrong("layersPattern needs", b -> b.targets("q").layersPattern("layer")),
                wrong("rankPattern of 'q'", b -> b.rankPattern(Map.of("q", 0))),
                wrong("'(' is not a regular expression", b -> b.rankPattern(Map.of("(", 1))),
                wrong("alphaPattern of 'q'", b -> b.alphaPattern(Map.of("q", -1.0))),
                wrong("aloraInvocationTokens must be", b -> b.aloraInvocationTokens(List.of(3, -1))),
                wrong("aloraInvocation must be a text", b -> b.aloraInvocation(" ")),
                wrong("dora must be false", b -> activated(b).dora(true)),
                wrong("loraBias must be false", b -> activated(b).loraBias(true)),
                wrong("bias must be none", b -> activated(b).bias(Bias.LORA_ONLY)),
                wrong("trainableTokens must be empty", b -> activated(b).trainableTokens(List.of(5))),
                wrong("dora must be false", b -> b.aloraInvocation("Answer:").dora(true)),
                wrong(
                        "bias must be none with layerReplication",
                        b -> b.layerReplication(LayerReplication.of(0, 2)).bias(Bias.ALL)));
    }

    private static LoraConfig.Builder activated(LoraConfig.Builder builder) {
        return builder.aloraInvocationTokens(List.of(3, 4));
    }

    private static Arguments wrong(String message, Consumer<LoraConfig.Builder> setting) {
        return Arguments.of(message, setting);
    }

    @ParameterizedTest
    @MethodSource("wrong")
    void refuses(String message, Consumer<LoraConfig.Builder> setting) {
        LoraConfig.Builder builder = LoraConfig.builder();
        setting.accept(builder);
        assertThatThrownBy(builder::build)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    @Test
    void defaultsArePefts() {
        LoraConfig config = LoraConfig.defaults();
        assertThat(config.r()).isEqualTo(8);
        assertThat(config.alpha()).isEqualTo(8);
        assertThat(config.dropout()).isZero();
        assertThat(config.bias()).isEqualTo(Bias.NONE);
        assertThat(config.init()).isEqualTo(InitLora.KAIMING);
        assertThat(config.rslora()).isFalse();
    }

    @Test
    void toBuilderKeepsEverySetting() {
        Map<String, Integer> ranks = new LinkedHashMap<>();
        ranks.put("b", 1);
        ranks.put("a", 2);
        LoraConfig config = LoraConfig.builder()
                .r(3)
                .alpha(4)
                .rslora(true)
                .dropout(0.25)
                .bias(Bias.ALL)
                .targets("q", "v")
                .excludeModules(Targets.names("x"))
                .layersToTransform(List.of(2, 1))
                .layersPattern("layer")
                .rankPattern(ranks)
                .alphaPattern(Map.of("c", 3.0))
                .modulesToSave(List.of("head"))
                .init(InitLora.GAUSSIAN)
                .build();

        assertThat(config.toBuilder().build()).isEqualTo(config);
        assertThat(config.rankPattern().keySet()).as("the order decides").containsExactly("b", "a");
        assertThat(config.withModulesToSave(List.of("z")).modulesToSave()).containsExactly("z");
    }
}
