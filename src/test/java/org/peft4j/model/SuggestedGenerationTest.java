package org.peft4j.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.peft4j.Fixtures;
import org.peft4j.io.Json;

class SuggestedGenerationTest {
    /** A key of a newer transformers has to get a row. */
    @Test
    void everyKeyOfTransformersHasARow() throws Exception {
        List<?> keys = (List<?>) Json.readObject(Fixtures.ROOT.resolve("generation/config-keys.json"))
                .get("keys");
        assertThat(SuggestedGeneration.KEYS.keys())
                .containsAll(keys.stream().map(String.class::cast).toList());
    }
}
