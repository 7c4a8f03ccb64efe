package org.peft4j.io.fetch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorSource;

class OnnxToHuggingFaceTest {
    private static final Path NAME = Path.of("model.onnx");
    private static final Map<String, List<Long>> EXPECTED = new LinkedHashMap<>();

    static {
        EXPECTED.put("embeddings.word_embeddings.weight", List.of(4L, 2L));
        EXPECTED.put("encoder.layer.0.intermediate.dense.weight", List.of(3L, 2L));
        EXPECTED.put("encoder.layer.0.intermediate.dense.bias", List.of(3L));
    }

    @TempDir
    Path dir;

    @Test
    void transposesMatricesBackAndKeepsNamedTensors() throws IOException {
        SafeTensors.write(dir.resolve("m"), Map.of(), convert(graph(2, 3)));
        Map<String, TensorData> tensors = SafeTensors.read(dir.resolve("m"));

        assertThat(tensors).containsOnlyKeys(EXPECTED.keySet());
        assertThat(tensors.get("embeddings.word_embeddings.weight").toFloats()).containsExactly(0, 1, 2, 3, 4, 5, 6, 7);
        TensorData matrix = tensors.get("encoder.layer.0.intermediate.dense.weight");
        assertThat(matrix.shape()).containsExactly(3L, 2L);
        assertThat(matrix.toFloats()).containsExactly(10, 13, 11, 14, 12, 15); // was 10 11 12 / 13 14 15
        assertThat(tensors.get("encoder.layer.0.intermediate.dense.bias").toFloats())
                .containsExactly(20, 21, 22);
    }

    @Test
    void refusesAShapeThatTheConfigDoesNotSay() {
        refuses(graph(3, 2), "'encoder.layer.0.intermediate.dense.weight' must be F32 [2, 3]", "F32 [3, 2]");
        RawOnnx wrongVocabulary =
                new RawOnnx().message(5, RawOnnx.tensor("embeddings.word_embeddings.weight", 0, 5, 2));
        refuses(wrongVocabulary, "'embeddings.word_embeddings.weight' must be F32 [4, 2]");
    }

    @Test
    void refusesAModelThatLacksATensor() {
        refuses(new RawOnnx(), "asks for tensor 'embeddings.word_embeddings.weight' [4, 2]");
    }

    @Test
    void refusesWeightsThatFindNoPlace() {
        refuses(
                graph(2, 3).message(5, RawOnnx.tensor("pooler.dense.bias", 0, 2)),
                "1 of 4 initialisers have no place",
                "[pooler.dense.bias]");
    }

    @Test
    void leavesThePositionNumbersOut() throws IOException {
        assertThat(convert(graph(2, 3).message(5, RawOnnx.tensor("embeddings.position_ids", 0, 1, 4))))
                .hasSize(3);
    }

    @Test
    void refusesOneInitialiserInTwoPlaces() {
        Map<String, List<Long>> two = new LinkedHashMap<>(EXPECTED);
        two.put("encoder.layer.0.other.weight", List.of(3L, 2L));
        RawOnnx graph = graph(2, 3)
                .message(
                        1,
                        RawOnnx.node("/encoder/layer.0/other/MatMul", "MatMul", List.of("x", "onnx::MatMul_1"), "z"));
        assertThatThrownBy(() -> OnnxToHuggingFace.convert(NAME, model(graph), two))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("'onnx::MatMul_1' is taken twice");
    }

    @Test
    void knowsTheTensorsOfTheKnownModels() {
        Map<String, List<Long>> miniLm =
                BertTensors.shapes(KnownModels.find("all-minilm-l6-v2").config());
        assertThat(miniLm).hasSize(101);
        assertThat(miniLm.get("encoder.layer.5.output.dense.weight")).containsExactly(384L, 1536L);
        assertThat(BertTensors.shapes(KnownModels.find("bge-small-en-v1.5").config()))
                .hasSize(197);
    }

    private static RawOnnx graph(int rows, int columns) {
        return new RawOnnx()
                .message(5, RawOnnx.tensor("embeddings.word_embeddings.weight", 0, 4, 2))
                .message(5, RawOnnx.tensor("encoder.layer.0.intermediate.dense.bias", 20, 3))
                .message(5, RawOnnx.tensor("onnx::MatMul_1", 10, rows, columns))
                .message(1, RawOnnx.node("/encoder/layer.0/attention/self/MatMul", "MatMul", List.of("q", "k"), "s"))
                .message(
                        1,
                        RawOnnx.node(
                                "/encoder/layer.0/intermediate/dense/MatMul",
                                "MatMul",
                                List.of("x", "onnx::MatMul_1"),
                                "y"));
    }

    private static OnnxModel model(RawOnnx graph) throws IOException {
        return OnnxModel.read(NAME, new ByteArrayInputStream(RawOnnx.model(graph)));
    }

    private static List<TensorSource> convert(RawOnnx graph) throws IOException {
        return new ArrayList<>(OnnxToHuggingFace.convert(NAME, model(graph), EXPECTED));
    }

    private static void refuses(RawOnnx graph, String... parts) {
        assertThatThrownBy(() -> convert(graph))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll(parts);
    }
}
