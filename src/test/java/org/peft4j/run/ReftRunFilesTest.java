package org.peft4j.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.config.RunConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.reft.ReftConfig.NonLinearity;
import org.peft4j.method.spi.reft.ReftMethod;

/** ReFT in run files: configurations by name, layers, wrong settings. */
class ReftRunFilesTest {
    private static final Map<String, ?> RUN =
            Map.of("model", "m", "data", Map.of("train", "t.csv"), "output", "o", "method", Map.of("type", "reft"));

    private static RunConfig read(String... overrides) {
        return RunConfigFile.of(RUN, "a test", List.of(overrides));
    }

    private static ReftConfig method(String settings) {
        return (ReftConfig) read("method={type: reft, " + settings + "}").method();
    }

    static List<Map.Entry<String, ReftConfig>> named() {
        return List.copyOf(new ReftMethod().namedSettings().entrySet());
    }

    @ParameterizedTest
    @MethodSource("named")
    void aNameIsAConfiguration(Map.Entry<String, ReftConfig> named) {
        for (String layers : List.of("all", "[0, 3]")) {
            RunConfig run = read("method.config=" + named.getKey(), "method.layers=" + layers);
            assertThat(run.method())
                    .isEqualTo(
                            layers.equals("all")
                                    ? named.getValue()
                                    : named.getValue().toBuilder().layers(0, 3).build());
            assertThat(RunConfigFile.of(RunConfigFile.toMap(run), "its own settings", List.of()))
                    .as("told as a whole, and read again")
                    .isEqualTo(run);
        }
    }

    /** What the README says, and every setting. */
    @Test
    void everySettingIsRead() {
        assertThat(method("config: loreft, r: 4, prefix_positions: 5, suffix_positions: 5, layers: [2, 6]"))
                .isEqualTo(
                        ReftConfig.builder().r(4).positions(5, 5).layers(2, 6).build());
        assertThat(method("tied_weights: true, orthogonality: false, subtract_projection: false, non_linearity: gelu,"
                        + " dropout: 0.1, suffix_positions: 1, prefix_positions: 0, modules_to_save: [pooler]"))
                .isEqualTo(ReftConfig.direft().toBuilder()
                        .tiedWeights(true)
                        .nonLinearity(NonLinearity.GELU)
                        .dropout(0.1)
                        .positions(0, 1)
                        .modulesToSave(List.of("pooler"))
                        .build());
        assertThat(read().method()).isEqualTo(ReftConfig.loreft());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            value = {
                "config: reft | expected one of loreft, noreft, direft for 'config' in method",
                "activation: relu | it is called 'non_linearity' here",
                "non_linearity: mish | expected one of none, relu, gelu, swish, tanh",
                "r: 0 | r must be 1 to 65536, got 0 in method",
                "prefix_positions: -1 | prefix_positions must be 0 to 65536, got -1",
                "suffix_positions: 70000 | suffix_positions must be 0 to 65536, got 70000",
                "prefix_positions: 0 | prefix_positions and suffix_positions must not both be 0",
                "dropout: 1 | dropout must be in [0, 1)",
                "layers: some | layers must be all, or a list such as [0, 3], got 'some'",
                "layers: {a: 1} | layers must be all, or a list such as [0, 3], received",
                "layers: [] | layers must be all, or name at least one layer",
                "layers: [-1] | layers must have numbers of layers from 0, got -1",
                "layers: [0.5] | layers must have whole numbers, such as [0, 3], received",
                "positions: f3 | unknown key 'positions'",
            })
    void wrongSettingsAreOneClearError(String settings, String message) {
        assertThatThrownBy(() -> method(settings))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }
}
