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
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.SentenceVectors;
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
        try (HeadedModel model =
                        HeadedModel.open(directory, ModelOptions.defaults(), HeadKind.NONE, HeadOptions.of(0));
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing())) {
            assertThat(maxDifference(
                            Tensors.toFloats(model.outputs(Tokens.of(sentences.tokens()), context)),
                            expected.get("last_hidden_state").toFloats()))
                    .isLessThan(1e-5);
            assertThat(maxDifference(
                            Tensors.toFloats(SentenceVectors.mean(
                                    model.outputs(Tokens.of(sentences.tokens()), context), context.packing())),
                            expected.get("mean_embedding").toFloats()))
                    .isLessThan(1e-5);
        }
    }

    @Test
    void logitsEqualHuggingFaces() throws Exception {
        ModelDirectory directory = Fixtures.tinyBert();
        try (HeadedModel model =
                        HeadedModel.open(directory, ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing())) {
            assertThat(model.points().fresh()).isEmpty();
            float[] logits = Tensors.toFloats(model.outputs(Tokens.of(sentences.tokens()), context));
            assertThat(maxDifference(logits, expected.get("logits").toFloats())).isLessThan(1e-5);
        }
    }

    @Test
    void refusesWhatDoesNotFitTheModel() throws Exception {
        ModelDirectory directory = Fixtures.tinyBert();
        try (HeadedModel model =
                        HeadedModel.open(directory, ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
                PointerScope scope = new PointerScope()) {
            ForwardContext two = ForwardContext.inference(Packing.of(2));
            assertThatThrownBy(() -> model.outputs(Tokens.of(new int[] {1, 2, 3}), two))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("2 rows")
                    .hasMessageContaining("3 tokens");
            assertThatThrownBy(() -> model.outputs(Tokens.of(new int[] {1, 1_000_000}), two))
                    .hasMessageContaining("token 1000000")
                    .hasMessageContaining("tokenizer.json");
            ForwardContext longer = ForwardContext.inference(Packing.of(65));
            assertThatThrownBy(() -> model.outputs(Tokens.of(new int[65]), longer))
                    .hasMessageContaining("must have 1 to 64 tokens")
                    .hasMessageContaining("has 65");
        }
    }
}
