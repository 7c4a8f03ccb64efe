package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prefix.InitPrefix;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.nn.seam.Adapter;

/** What a new adapter is told to do and what would change nothing in the model is refused by its name. */
class SettingsWithoutEffectTest extends WithTinyBert {
    private <C extends MethodConfig> Adapter attach(C config) {
        Method<C> method = Methods.of(config);
        return method.attach("a", config, model.points(), 0);
    }

    private void refuses(MethodConfig config, String message) {
        assertThatThrownBy(() -> attach(config).close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    @Test
    void aPatternThatMatchesNoAdaptedModule() {
        refuses(
                LoraConfig.builder()
                        .targets("query")
                        .rankPattern(Map.of("value", 2))
                        .build(),
                "rank_pattern: 'value' matches the end of none of the adapted modules, such as bert.encoder.layer.0");
        refuses(
                LoraConfig.builder()
                        .targets("query")
                        .alphaPattern(Map.of("quer", 2.0))
                        .build(),
                "alpha_pattern: 'quer' matches the end of none");
        attach(LoraConfig.builder()
                        .targets("query")
                        .rankPattern(Map.of("0.*query", 2))
                        .build())
                .close();
    }

    @Test
    void aLayerThatTheModelDoesNotHave() {
        refuses(
                LoraConfig.builder()
                        .targets("query")
                        .layersToTransform(List.of(0, 7))
                        .build(),
                "layers_to_transform: no module that targets mean is in layer 7");
    }

    @Test
    void anExclusionThatExcludesNothing() {
        Targets misspelt = Targets.names("qeury", "value");
        String message = "exclude_modules: no module is named qeury; did you mean 'query'?";
        refuses(
                LoraConfig.builder()
                        .targets(Targets.allLinear())
                        .excludeModules(misspelt)
                        .build(),
                message);
        refuses(new Ia3Config(Targets.allLinear(), null, misspelt, List.of()), message);
        refuses(
                LoraConfig.builder().excludeModules(Targets.regex("layer.9.*")).build(),
                "exclude_modules: the regular expression 'layer.9.*' matches no module");
    }

    @Test
    void aFeedforwardThatMeansNoneOfTheTargets() {
        refuses(
                new Ia3Config(Targets.regex(".*key"), Targets.names("output.dense"), null, List.of()),
                "feedforward: none of the targets ends with 'output.dense', they are such as bert.encoder.layer.0");
        refuses(
                new Ia3Config(Targets.names("key"), Targets.regex(".*value"), null, List.of()),
                "feedforward: '.*value' matches none of the targets");
        attach(new Ia3Config(Targets.regex(".*key"), Targets.modelDefault(), null, List.of()))
                .close();
    }

    /** As in PEFT, where it is the projection's last layer that begins at zero. */
    @Test
    void aProjectedPrefixObeysItsStart() {
        assertThat(table(InitPrefix.ZERO)).containsOnly(0);
        assertThat(table(InitPrefix.RANDOM)).doesNotContain(0);
    }

    private float[] table(InitPrefix init) {
        PrefixConfig config = new PrefixConfig(3, true, 8, init, List.of());
        try (Adapter adapter = attach(config)) {
            return Methods.of(config)
                    .fileTensors(config, adapter)
                    .get("prompt_embeddings")
                    .toFloats();
        }
    }
}
