package org.peft4j.model.bert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;
import org.peft4j.TestModels;
import org.peft4j.data.TextTokenizer;
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

/** The real all-MiniLM-L6-v2, fetched and converted by us, against Hugging Face's outputs of it. */
class MiniLmTest {
    private final Map<String, TensorData> expected =
            Fixtures.read(Fixtures.ROOT.resolve("minilm/expected.safetensors"));
    private final Fixtures.Sentences sentences = Fixtures.sentences(expected);

    @ParameterizedTest
    @CsvSource({"false, 1e-5, 1e-5", "true, 0.2, 0.02"}) // bfloat16 has 8 bits: 0.2 is what 6 layers make of 2^-9
    void hiddenStatesEqualHuggingFaces(boolean bfloat16, double hidden, double embedding) throws Exception {
        ModelDirectory directory = ModelDirectory.open(TestModels.miniLm());
        ModelOptions options = new ModelOptions(bfloat16, true, 0);
        try (HeadedModel model = HeadedModel.open(directory, options, HeadKind.NONE, HeadOptions.of(0));
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing())) {
            assertThat(maxDifference(
                            Tensors.toFloats(model.outputs(Tokens.of(sentences.tokens()), context)),
                            expected.get("last_hidden_state").toFloats()))
                    .isLessThan(hidden);
            assertThat(maxDifference(
                            Tensors.toFloats(SentenceVectors.mean(
                                    model.outputs(Tokens.of(sentences.tokens()), context), context.packing())),
                            expected.get("mean_embedding").toFloats()))
                    .isLessThan(embedding);
        }
    }

    @Test
    void tokensEqualHuggingFaces() throws Exception {
        JsonNode texts = new ObjectMapper()
                .readTree(Fixtures.ROOT.resolve("minilm/sentences.json").toFile());
        List<Integer> tokens = new ArrayList<>();
        try (TextTokenizer tokenizer = TextTokenizer.open(TestModels.miniLm().resolve("tokenizer.json"), 256)) {
            for (JsonNode text : texts) {
                for (int token : tokenizer.encode(text.asText())) {
                    tokens.add(token);
                }
            }
        }
        assertThat(tokens.stream().mapToInt(Integer::intValue).toArray()).isEqualTo(sentences.tokens());
    }
}
