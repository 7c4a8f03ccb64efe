package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Variants;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;

/** Whatever value a key of a config has, the file is taken or refused with its name. */
class OddValuesTest {
    private static final List<Object> VALUES = new ArrayList<>(Arrays.asList(
            null,
            true,
            false,
            0,
            1,
            -1,
            0.5,
            1e30,
            1e308,
            "",
            "x",
            "(",
            "(?P<idx>a)",
            "NaN",
            List.of(),
            List.of(1),
            List.of("("),
            List.of("(?P<idx>a)"),
            List.of(List.of()),
            Map.of(),
            Map.of("query", 1),
            Map.of("query", 0.5),
            Map.of("(", 1),
            Map.of("query", "1"),
            Map.of("query", Map.of()),
            Collections.singletonList(null)));

    @TempDir
    Path dir;

    @ParameterizedTest
    @ValueSource(
            strings = {
                "lora-query-value",
                "lora-patterns",
                "ia3",
                "prompt-tuning",
                "p-tuning",
                "trainable-tokens",
                "prefix"
            })
    void ofAnAdapter(String fixture) throws Exception {
        ModelDirectory tiny = Fixtures.tinyBert();
        Map<String, Object> config =
                Json.readObject(Fixtures.ADAPTERS.resolve(fixture).resolve("adapter_config.json"));
        Map<String, TensorData> tensors =
                SafeTensors.read(Fixtures.ADAPTERS.resolve(fixture).resolve("adapter_model.safetensors"));
        int refused = 0;
        try (HeadedModel model =
                HeadedModel.open(tiny, ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2))) {
            for (String key : config.keySet()) {
                for (Object value : VALUES) {
                    Map<String, Object> changed = new java.util.LinkedHashMap<>(config);
                    changed.put(key, value);
                    try {
                        AdapterStore.read(new AdapterFile(dir, changed, tensors), "odd", model.points())
                                .adapter()
                                .close();
                    } catch (MalformedFileException e) {
                        refused++;
                        assertThat(e.getMessage()).as("%s: %s", key, value).contains(dir + "/adapter_");
                    }
                }
            }
        }
        assertThat(refused).isGreaterThan(100);
    }

    @Test
    void ofAModel() throws Exception {
        Set<String> keys = new TreeSet<>(Fixtures.tinyBert().config().keySet());
        keys.addAll(List.of("problem_type", "pruned_heads", "position_embedding_type", "hidden_act", "model_type"));
        int refused = 0;
        for (String key : keys) {
            for (Object value : VALUES) {
                Variants.tinyBert(dir, name -> name, tensors -> {}, config -> config.put(key, value));
                try {
                    ModelDirectory directory = ModelDirectory.open(dir);
                    HeadedModel.open(directory, ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2))
                            .close();
                } catch (MalformedFileException e) {
                    refused++;
                    assertThat(e.getMessage()).as("%s: %s", key, value).contains(dir.toString());
                }
            }
        }
        assertThat(refused).isGreaterThan(100);
    }
}
