package org.peft4j.io.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.error.MalformedFileException;

class TensorNamesTest {
    @ParameterizedTest
    @CsvSource({
        "bert.pooler.dense.weight, bert.pooler.dense.weight",
        "module.bert.pooler.dense.weight, bert.pooler.dense.weight",
        "module.module.classifier.bias, classifier.bias",
        "_orig_mod.module.classifier.bias, classifier.bias",
        "module._orig_mod.classifier.bias, classifier.bias",
        "bert.encoder.layer.0._orig_mod.output.dense.bias, bert.encoder.layer.0.output.dense.bias",
        "_fsdp_wrapped_module.bert._fsdp_wrapped_module.x, bert.x",
        "bert.encoder.layer.0._checkpoint_wrapped_module.x, bert.encoder.layer.0.x",
        "base_model.model.module.classifier.bias, base_model.model.classifier.bias",
        "module.base_model._orig_mod.model.classifier.bias, base_model.model.classifier.bias",
        "bert.module.x, bert.module.x", // a module of the model may have this name
        "bert.embeddings.LayerNorm.gamma, bert.embeddings.LayerNorm.weight",
        "module.bert.embeddings.LayerNorm.beta, bert.embeddings.LayerNorm.bias",
        "LayerNorm.beta, LayerNorm.bias",
        "bert.scale.gamma, bert.scale.gamma",
        "gamma, gamma",
        "LayerNorm, LayerNorm",
    })
    void takesWrappersAway(String name, String plain) {
        assertThat(TensorNames.plain(name)).isEqualTo(plain);
    }

    @Test
    void twoNamesOfOneTensorAreRefusedWithBoth() {
        Map<String, Integer> tensors = new LinkedHashMap<>();
        tensors.put("module.a", 1);
        tensors.put("b", 2);
        tensors.put("a", 3);
        assertThatThrownBy(() -> TensorNames.renamed(Path.of("f"), tensors, TensorNames::plain))
                .isInstanceOf(MalformedFileException.class)
                .hasMessage("f: tensors 'module.a' and 'a' are both 'a'; only one may be there");
    }

    @Test
    void showsThreeNamesAndHowManyThereAre() {
        assertThat(TensorNames.some(List.of("a", "b", "c", "d"))).isEqualTo("a, b, c, … (4 tensors)");
        assertThat(TensorNames.some(List.of("a"))).isEqualTo("a (1 tensor)");
        assertThat(TensorNames.some(List.of())).isEqualTo(" (0 tensors)");
    }
}
