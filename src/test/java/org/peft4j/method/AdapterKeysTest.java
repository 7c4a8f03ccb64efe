package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Variants;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;

/** Every key of adapter_config.json is obeyed, harmless, or refused by name. */
class AdapterKeysTest extends WithTinyBert {
    @TempDir
    Path dir;

    private AdapterStore.Loaded load(String fixture, String settings) throws Exception {
        Map<String, Object> change = Json.readObject(Path.of("settings"), settings.getBytes());
        Variants.adapter(fixture, dir, name -> name, tensors -> {}, keys -> keys.putAll(change));
        return AdapterStore.read(dir, "default", model.points());
    }

    private void loadsUnchanged(String fixture, String settings, String... notes) throws Exception {
        AdapterStore.Loaded loaded = load(fixture, settings);
        try (var adapter = loaded.adapter()) {
            assertThat(maxDifference(logits(model, adapter), expected(fixture, "logits")))
                    .isLessThan(1e-5);
            assertThat(loaded.notes()).containsExactly(notes);
        }
    }

    private void refuses(String fixture, String settings) {
        String key = settings.split("\"")[1];
        assertThatThrownBy(() -> load(fixture, settings))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(dir.resolve("adapter_config.json") + ": ")
                .hasMessageContaining(key.replace("lora_alpha", "alpha").replace("lora_dropout", "dropout"));
    }

    static List<Method<?>> methods() {
        return Methods.all();
    }

    /** config-keys.json is written by build-scripts/fixtures/config_keys.py; a key of a newer PEFT has to get a row. */
    @ParameterizedTest
    @MethodSource("methods")
    void everyKeyOfPeftHasARow(Method<?> method) throws Exception {
        Map<String, Object> keys = Json.readObject(Path.of("src/test/resources/method/config-keys.json"));
        Map<String, ?> pefts = (Map<String, ?>) keys.get(method.peftType());
        assertThat(pefts != null).as("PEFT has it").isEqualTo(method.isPefts());
        if (pefts != null) {
            Set<String> expected = new TreeSet<>(pefts.keySet());
            expected.add(
                    "modules_to_save"); // ours for every method: a head has to be kept; trainable tokens lack it in
            // PEFT
            if (pefts.containsKey("num_tasks")) {
                expected.add("task"); // PEFT is told a row's task by its caller
            }
            assertThat(method.keys().keys()).containsExactlyInAnyOrderElementsOf(expected);
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"init_lora_weights\": \"pissa\"}",
                "{\"init_lora_weights\": \"pissa_niter_16\"}",
                "{\"init_lora_weights\": \"olora\"}",
                "{\"init_lora_weights\": \"OLoRA\"}",
                "{\"init_lora_weights\": \"corda\"}",
                "{\"init_lora_weights\": \"loftq\"}",
                "{\"init_lora_weights\": \"lora_ga\"}",
                "{\"init_lora_weights\": \"mica\"}",
                "{\"init_lora_weights\": \"gausian\"}",
                "{\"init_lora_weights\": 1}",
                "{\"use_dora\": 1}",
                "{\"use_qalora\": true}",
                "{\"use_bdlora\": {\"nblocks\": 2}}",
                "{\"alora_invocation_tokens\": [-1]}",
                "{\"alora_invocation_tokens\": [0.5]}",
                "{\"alora_invocation_tokens\": \"Answer:\"}",
                "{\"alora_invocation_tokens\": [1000000]}",
                "{\"arrow_config\": {\"top_k\": 3}}",
                "{\"kasa_config\": {\"beta\": 1}}",
                "{\"velora_config\": {\"num_groups\": 1}}",
                "{\"monteclora_config\": {\"num_samples\": 1}}",
                "{\"megatron_config\": {\"a\": 1}}",
                "{\"layer_replication\": [[0, 2]]}",
                "{\"layer_replication\": [[2, 1]]}",
                "{\"layer_replication\": [[0.5, 1]]}",
                "{\"layer_replication\": [0, 2]}",
                "{\"layer_replication\": \"all\"}",
                "{\"target_parameters\": [\"weight\"]}",
                "{\"task_type\": \"SEQ_CLASS\"}",
                "{\"bias\": \"some\"}",
                "{\"r\": 8.5}",
                "{\"r\": 0}",
                "{\"r\": -4}",
                "{\"r\": true}",
                "{\"r\": \"4\"}",
                "{\"r\": 1e300}",
                "{\"r\": 4294967300}",
                "{\"lora_alpha\": true}",
                "{\"lora_alpha\": \"8\"}",
                "{\"lora_alpha\": 1e308}",
                "{\"lora_alpha\": 1e39}",
                "{\"lora_alpha\": 1e-60}",
                "{\"lora_alpha\": -8}",
                "{\"lora_dropout\": 1}",
                "{\"lora_dropout\": -0.1}",
                "{\"use_rslora\": \"yes\"}",
                "{\"fan_in_fan_out\": \"yes\"}",
                "{\"rank_pattern\": {\"query\": 2.5}}",
                "{\"rank_pattern\": {\"query\": true}}",
                "{\"rank_pattern\": [4]}",
                "{\"alpha_pattern\": {\"query\": \"8\"}}",
                "{\"layers_to_transform\": [0.5]}",
                "{\"layers_to_transform\": [-1]}",
                "{\"target_modules\": [1]}",
                "{\"modules_to_save\": [true]}",
            })
    void whatChangesLoraIsRefusedByItsKey(String settings) {
        refuses("lora-query-value", settings);
    }

    @Test
    void aStartThatChangesTheBaseIsNamed() {
        assertThatThrownBy(() -> load("lora-query-value", "{\"init_lora_weights\": \"pissa_niter_4\"}"))
                .hasMessageContaining("'pissa'")
                .hasMessageContaining("out of the base")
                .hasMessageContaining("got \"pissa_niter_4\"");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"init_lora_weights\": false}",
                "{\"init_lora_weights\": null}",
                "{\"init_lora_weights\": \"Gaussian\"}",
                "{\"init_lora_weights\": \"orthogonal\"}",
                "{\"init_lora_weights\": \"eva\", \"eva_config\": {\"rho\": 2.0}}",
                "{\"corda_config\": {\"cache_file\": null}}",
                "{\"loftq_config\": {\"loftq_bits\": 4}}",
                "{\"inference_mode\": false, \"task_type\": \"FEATURE_EXTRACTION\", \"revision\": \"main\"}",
                "{\"auto_mapping\": {\"base_model_class\": \"BertModel\"}}",
                "{\"peft_version\": \"99.0\", \"newer_key\": false, \"another\": {}, \"third\": null}",
                "{\"target_modules\": [\"query\", \"value\", \"query\"], \"modules_to_save\": [\"score\", \"score\", \"classifier\"]}",
                "{\"layers_pattern\": [], \"use_dora\": null, \"layer_replication\": []}",
                "{\"r\": 4.0, \"layers_to_transform\": [], \"layers_pattern\": \"layer\"}",
                "{\"megatron_core\": \"other\", \"qalora_group_size\": 7, \"ensure_weight_tying\": true}",
            })
    void whatDoesNotChangeLoraIsTaken(String settings) throws Exception {
        loadsUnchanged("lora-query-value", settings);
    }

    @Test
    void aKeyThatNobodyKnowsIsNoted() throws Exception {
        loadsUnchanged(
                "lora-query-value",
                "{\"newer_key\": 3}",
                "adapter_config.json: 'newer_key' is passed over, as PEFT 0.21 does, which does not know it either");
    }

    @Test
    void fanInFanOutIsTakenAsFalseWithANote() throws Exception {
        loadsUnchanged(
                "lora-query-value",
                "{\"fan_in_fan_out\": true}",
                "fan_in_fan_out is true in the adapter's config, but the model's linear layers store [out, in]: taken as"
                        + " false, as PEFT does");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"num_virtual_tokens\": 2.5}",
                "{\"num_virtual_tokens\": -5}",
                "{\"num_virtual_tokens\": 100000}",
                "{\"num_virtual_tokens\": true}",
                "{\"num_attention_heads\": 2}",
                "{\"num_layers\": 12}",
                "{\"num_layers\": 3.5}",
                "{\"token_dim\": 64}",
                "{\"num_transformer_submodules\": 2}",
                "{\"init_weights\": \"ones\"}",
                "{\"encoder_hidden_size\": 16.5}",
                "{\"prefix_projection\": \"no\"}",
                "{\"task_type\": \"CLS\"}",
            })
    void whatChangesAPrefixIsRefusedByItsKey(String settings) {
        String key = settings.split("\"")[1];
        assertThatThrownBy(() -> load("prefix", settings))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(dir.resolve("adapter_config.json") + ": ")
                .hasMessageMatching("(?s).*(" + key + "|virtualTokens).*");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"num_attention_heads\": null, \"num_layers\": null, \"token_dim\": null}",
                "{\"num_transformer_submodules\": null, \"init_weights\": \"zero\", \"encoder_hidden_size\": 7}",
                "{\"inference_mode\": false, \"use_dora\": false}",
            })
    void whatDoesNotChangeAPrefixIsTaken(String settings) throws Exception {
        loadsUnchanged("prefix", settings);
    }

    @Test
    void layersPatternMayBeAList() throws Exception {
        AdapterStore.Loaded loaded = load(
                "lora-query-value",
                "{\"layers_pattern\": [\"h\", \"layer\"], \"layers_to_transform\": [0, 1, 2], \"target_modules\": [\"query\", \"value\"]}");
        try (var adapter = loaded.adapter()) {
            AdapterStore.write(dir.resolve("again"), adapter, loaded.config(), model.points(), "tiny-bert", "SEQ_CLS");
            assertThat(Json.readObject(dir.resolve("again/adapter_config.json")).get("layers_pattern"))
                    .isEqualTo(List.of("h", "layer"));
        }
    }
}
