package org.peft4j.model.bert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.model.ClassificationModel;
import org.peft4j.model.EmbeddingModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Models;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;

class BertTest {
    private final Map<String, TensorData> expected = Fixtures.read(Fixtures.TINY_BERT.resolve("expected.safetensors"));
    private final Fixtures.Sentences sentences = Fixtures.sentences(expected);

    @ParameterizedTest
    @ValueSource(strings = {"tiny-bert", "tiny-bert-sharded"})
    void hiddenStatesEqualHuggingFaces(String name) throws Exception {
        ModelDirectory directory = ModelDirectory.open(Fixtures.ROOT.resolve(name));
        try (EmbeddingModel model = Models.family(directory).embedding(directory, ModelOptions.defaults());
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing())) {
            assertThat(maxDifference(
                            Tensors.toFloats(model.hidden(sentences.tokens(), context)),
                            expected.get("last_hidden_state").toFloats()))
                    .isLessThan(1e-5);
            assertThat(maxDifference(
                            Tensors.toFloats(model.embed(sentences.tokens(), context)),
                            expected.get("mean_embedding").toFloats()))
                    .isLessThan(1e-5);
        }
    }

    @Test
    void logitsEqualHuggingFaces() throws Exception {
        ModelDirectory directory = Fixtures.tinyBert();
        try (ClassificationModel model =
                        Models.family(directory).classification(directory, 2, ModelOptions.defaults());
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing())) {
            assertThat(model.points().fresh()).isEmpty();
            float[] logits = Tensors.toFloats(model.logits(sentences.tokens(), context));
            assertThat(maxDifference(logits, expected.get("logits").toFloats())).isLessThan(1e-5);
        }
    }

    @Test
    void refusesWhatDoesNotFitTheModel() throws Exception {
        ModelDirectory directory = Fixtures.tinyBert();
        try (ClassificationModel model =
                        Models.family(directory).classification(directory, 2, ModelOptions.defaults());
                PointerScope scope = new PointerScope()) {
            ForwardContext two = ForwardContext.inference(Packing.of(2));
            assertThatThrownBy(() -> model.logits(new int[] {1, 2, 3}, two))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("2 rows")
                    .hasMessageContaining("3 tokens");
            assertThatThrownBy(() -> model.logits(new int[] {1, 1_000_000}, two))
                    .hasMessageContaining("token 1000000")
                    .hasMessageContaining("tokenizer.json");
            ForwardContext longer = ForwardContext.inference(Packing.of(65));
            assertThatThrownBy(() -> model.logits(new int[65], longer))
                    .hasMessageContaining("must have 1 to 64 tokens")
                    .hasMessageContaining("has 65");
        }
    }
}
