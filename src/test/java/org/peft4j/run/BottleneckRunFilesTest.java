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
import org.peft4j.method.InitRational;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckConfig.Activation;
import org.peft4j.method.bottleneck.BottleneckLora;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.InitBottleneck;
import org.peft4j.method.bottleneck.InvertibleAdapter;
import org.peft4j.method.bottleneck.OriginalNorms;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.bottleneck.Scaling;
import org.peft4j.method.list.ListConfig;
import org.peft4j.method.spi.bottleneck.BottleneckMethod;

/** Bottleneck adapters in run files: configurations by name, and settings that are no single values. */
class BottleneckRunFilesTest {
    private static final Map<String, ?> RUN = Map.of(
            "model", "m", "data", Map.of("train", "t.csv"), "output", "o", "method", Map.of("type", "bottleneck"));

    private static RunConfig read(String... overrides) {
        return RunConfigFile.of(RUN, "a test", List.of(overrides));
    }

    private static BottleneckConfig method(String settings) {
        return (BottleneckConfig)
                read("method={type: bottleneck, " + settings + "}").method();
    }

    static List<Map.Entry<String, BottleneckConfig>> named() {
        return List.copyOf(new BottleneckMethod().namedSettings().entrySet());
    }

    @ParameterizedTest
    @MethodSource("named")
    void aNameIsAConfiguration(Map.Entry<String, BottleneckConfig> named) {
        RunConfig run = read("method.config=" + named.getKey());
        assertThat(run.method()).isEqualTo(named.getValue());
        assertThat(RunConfigFile.of(RunConfigFile.toMap(run), "its own settings", List.of()))
                .as("told as a whole, and read again")
                .isEqualTo(run);
    }

    @Test
    void whatIsSaidBesideANameChangesIt() {
        assertThat(method("config: par_bn, reduction_factor: {default: 8, 0: 2, 11: 4.5}, scaling: learned"))
                .isEqualTo(BottleneckConfig.scaledParBn().toBuilder()
                        .reductionFactor(new ReductionFactor(8.0, Map.of(0, 2.0, 11, 4.5)))
                        .build());
        assertThat(method("config: compacter++, phm: {rank: 3}"))
                .isEqualTo(BottleneckConfig.compacterPlusPlus().toBuilder()
                        .phm(PhmConfig.defaults().withSizes(4, 3))
                        .build());
        assertThat(method("config: mam, prefix: {virtual_tokens: 5}"))
                .isEqualTo(BottleneckConfig.mam().toBuilder()
                        .prefix(new BottleneckPrefix(5, 800))
                        .build());
        assertThat(method("config: unipelt, lora: {r: 2, targets: [key]}, prefix: {shared_gate: false}"))
                .isEqualTo(BottleneckConfig.unipelt().toBuilder()
                        .lora(new BottleneckLora(2, 0, Targets.names("key")))
                        .prefix(new BottleneckPrefix(10, 512, false))
                        .build());
        assertThat(method("config: unipelt, lora: null, prefix: null"))
                .isEqualTo(BottleneckConfig.builder().gate(true).build());
        assertThat(method("gate: true, lora: {dropout: 0.5}, stochastic_depth: 0.25"))
                .isEqualTo(BottleneckConfig.builder()
                        .gate(true)
                        .lora(new BottleneckLora(8, 0.5, Targets.modelDefault()))
                        .stochasticDepth(0.25)
                        .build());
        assertThat(method("inv_adapter: nice")).isEqualTo(BottleneckConfig.seqBnInv());
        assertThat(method("config: double_seq_bn_inv, inv_adapter_reduction_factor: 8"))
                .isEqualTo(BottleneckConfig.doubleSeqBn().toBuilder()
                        .invertible(new InvertibleAdapter(InvertibleAdapter.InvAdapter.NICE, 8))
                        .build());
        assertThat(method("config: seq_bn_inv, inv_adapter: null")).isEqualTo(BottleneckConfig.seqBn());
        assertThat(read("method.config=houlsby", "method.config=null").method()).isEqualTo(BottleneckConfig.seqBn());
    }

    @Test
    void everySettingIsRead() {
        MethodConfig read = method("mh_adapter: true, output_adapter: false, leave_out: [1, 0], activation: rational,"
                + " rational_init: swish, init: mam_adapter, scaling: channel, original_ln_before: true,"
                + " original_ln_after: false, residual_before_ln: false, dropout: 0.1, modules_to_save: [pooler]");
        assertThat(read)
                .isEqualTo(BottleneckConfig.builder()
                        .mhAdapter(true)
                        .outputAdapter(false)
                        .leaveOut(List.of(0, 1))
                        .activation(Activation.RATIONAL)
                        .rationalInit(InitRational.SWISH)
                        .init(InitBottleneck.MAM_ADAPTER)
                        .scaling(Scaling.CHANNEL)
                        .norms(OriginalNorms.BEFORE)
                        .dropout(0.1)
                        .modulesToSave(List.of("pooler"))
                        .build());
        assertThat(method("residual_before_ln: post_add, phm: {}, scaling: 2"))
                .isEqualTo(BottleneckConfig.builder()
                        .norms(new OriginalNorms(true, true, OriginalNorms.Residual.POST_ADD))
                        .phm(PhmConfig.defaults())
                        .scaling(Scaling.of(2))
                        .build());
    }

    /** What the README says of them. */
    @Test
    void settingsOfTheDocumentationAreRead() {
        assertThat(method("config: compacter, phm: {dim: 4, rank: 1, shared_rule: true, factorized_rule: false,"
                        + " factorized_w: true, shared_w: false, rule_init: normal, init_range: 1e-4, bias: true}"))
                .isEqualTo(BottleneckConfig.compacter());
        assertThat(method("original_ln_after: false, residual_before_ln: false, scaling: channel, init: houlsby,"
                        + " reduction_factor: 96, activation: gelu, stochastic_depth: 0.1"))
                .isEqualTo(BottleneckConfig.adapterPlus());
    }

    @Test
    void linearAdaptersOfTheDocumentationAreRead() {
        assertThat(read("method={type: list, r: 128, init_std: 2e-4, modules_to_save: [lm_head]}")
                        .method())
                .isEqualTo(ListConfig.defaults().withModulesToSave(List.of("lm_head")));
        assertThat(read("method={type: list, r: 8, init_std: 0.1, targets: [value], layers_to_transform: [1]}")
                        .method())
                .isEqualTo(new ListConfig(
                        8, 0.1, new TargetLayers(Targets.names("value"), null, List.of(1), List.of()), List.of()));
        for (String[] wrong : new String[][] {
            {"r: 0", "r must be at least 1, got 0 in method"},
            {"init_std: 0", "init_std must be above 0"},
            {"adapter_init_std: 1", "it is called 'init_std' here"},
            {"alpha: 8", "unknown key 'alpha' in method"}
        }) {
            assertThatThrownBy(() -> read("method={type: list, " + wrong[0] + "}"))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining(wrong[1]);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            value = {
                "config: seq_bn_glow | expected one of seq_bn, double_seq_bn, par_bn, scaled_par_bn, compacter,"
                        + " compacter++, mam, unipelt, adapter_plus, seq_bn_inv, double_seq_bn_inv, pfeiffer, houlsby, parallel for 'config' in method",
                "inv_adapter: glow | inv_adapter glow is not offered: in AdapterHub's library its forward leaves out",
                "inv_adapter: real_nvp | inv_adapter must be nice, got 'real_nvp'",
                "inv_adapter: [nice] | inv_adapter must be nice, received",
                "inv_adapter_reduction_factor: 4 | inv_adapter_reduction_factor has no meaning without inv_adapter, got 4.0",
                "config: seq_bn_inv, inv_adapter_reduction_factor: 0.5 | inv_adapter_reduction_factor must be at least 1",
                "non_linearity: relu | it is called 'activation' here",
                "is_parallel: true | it is called 'parallel' here",
                "phm_dim: 4 | it is called 'phm.dim' here",
                "parallel: true | parallel needs original_ln_before: false",
                "reduction_factor: 0 | reduction_factor must be at least 1/64 and at most 16777216, got 0.0 in method",
                "reduction_factor: some | reduction_factor must be a number, or a map such as {default: 16, 0: 8},"
                        + " received 'some'",
                "reduction_factor: {first: 8} | reduction_factor must have numbers of layers and 'default' as keys,"
                        + " got 'first'",
                "scaling: 0 | scaling must be a number other than 0",
                "scaling: learnt | scaling must be a number, learned, or channel, got 'learnt'",
                "residual_before_ln: maybe | expected one of true, false, post_add, received 'maybe'",
                "original_ln_after: false | residual_before_ln must be false where original_ln_after is",
                "output_adapter: false | mh_adapter and output_adapter must not both be false",
                "leave_out: [-1] | leave_out must have numbers of layers from 0",
                "rational_init: gelu | rational_init has no meaning for other activations than rational",
                "activation: mish | expected one of relu, gelu, swish, tanh, rational",
                "phm: {dim: 0} | dim must be 1 to 1024, got 0 in method.phm",
                "phm: {factorized_w: false, rank: 2} | rank has no meaning without factorized_w",
                "phm: {}, init: houlsby | init has no meaning with phm",
                "prefix: {virtual_tokens: 0} | virtual_tokens must be 1 to 65536",
                "use_gating: true | it is called 'gate' here",
                "config: unipelt, lora: {r: 0} | r must be at least 1, got 0 in method.lora",
                "lora: {dropout: 1} | dropout must be in [0, 1), got 1.0 in method.lora",
                "lora: {alpha: 2} | unknown key 'alpha' in method.lora",
                "lora: {targets: []} | targets must name at least one module",
                "prefix: {shared_gate: false} | prefix must not have shared_gate: false without gate",
                "stochastic_depth: 1 | stochastic_depth must be in [0, 1), got 1.0",
                "confg: par_bn | did you mean 'config'?",
            })
    void wrongSettingsAreOneClearError(String settings, String message) {
        assertThatThrownBy(() -> method(settings))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }
}
