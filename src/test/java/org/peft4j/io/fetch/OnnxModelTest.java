package org.peft4j.io.fetch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.protobuf.ByteString;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Mutations;
import org.peft4j.io.safetensors.ElementType;

class OnnxModelTest {
    private static final Path NAME = Path.of("model.onnx");

    @Test
    void readsNodesAndInitialisersAndSkipsTheRest() throws IOException {
        RawOnnx graph = new RawOnnx()
                .message(1, RawOnnx.node("/a/MatMul", "MatMul", List.of("x", "onnx::MatMul_1"), "y"))
                .message(1, new RawOnnx().text(2, "z").message(5, new RawOnnx().text(1, "an attribute")))
                .text(2, "main_graph")
                .message(5, RawOnnx.tensor("onnx::MatMul_1", 10, 2, 3));

        OnnxModel model = read(RawOnnx.model(graph));

        assertThat(model.nodes())
                .containsExactly(
                        new OnnxModel.Node("/a/MatMul", "MatMul", List.of("x", "onnx::MatMul_1"), List.of("y")),
                        new OnnxModel.Node("", "", List.of(), List.of("z")));
        assertThat(model.initializers()).containsOnlyKeys("onnx::MatMul_1");
        assertThat(model.initializers().get("onnx::MatMul_1").shape()).containsExactly(2L, 3L);
        assertThat(model.initializers().get("onnx::MatMul_1").toFloats()).containsExactly(10, 11, 12, 13, 14, 15);
    }

    @Test
    void readsFloatDataAndPackedDims() throws IOException {
        RawOnnx packed = new RawOnnx()
                .add(out -> out.writeByteArray(1, new byte[] {2, 1})) // packed dims
                .add(out -> out.writeInt32(2, 1))
                .text(8, "packed")
                .add(out ->
                        out.writeBytes(4, ByteString.copyFrom(new byte[] {0, 0, (byte) 0x80, 0x3f, 0, 0, 0, 0x40})));
        RawOnnx single = new RawOnnx()
                .add(out -> out.writeInt32(2, 1))
                .add(out -> out.writeFloat(4, 2.5f))
                .text(8, "single");
        OnnxModel model = read(RawOnnx.model(new RawOnnx().message(5, packed).message(5, single)));
        assertThat(model.initializers().get("packed").toFloats()).containsExactly(1f, 2f);
        assertThat(model.initializers().get("single").toFloats()).containsExactly(2.5f);
    }

    @Test
    void readsOtherTypes() throws IOException {
        RawOnnx ids = new RawOnnx()
                .add(out -> out.writeInt64(1, 1))
                .add(out -> out.writeInt32(2, 7))
                .text(8, "ids")
                .add(out -> out.writeByteArray(9, new byte[8]));
        assertThat(read(RawOnnx.model(new RawOnnx().message(5, ids)))
                        .initializers()
                        .get("ids")
                        .dtype())
                .isEqualTo(ElementType.I64);
    }

    @Test
    void refusesEveryTruncation() {
        byte[] whole = RawOnnx.model(new RawOnnx().message(5, RawOnnx.tensor("t", 0, 3)));
        int afterGraph = whole.length - 4; // opset_import, 4 bytes: a file cut there has nothing missing
        for (int length = 0; length < afterGraph; length++) {
            byte[] cut = Arrays.copyOf(whole, length);
            assertThatThrownBy(() -> read(cut)).as("%d bytes", length).isInstanceOf(MalformedFileException.class);
        }
    }

    @Test
    void refusesWhatIsNoModel() {
        refuses(new byte[0], "must have a graph");
        refuses("PK\3\4 this is a zip".getBytes(StandardCharsets.UTF_8), "");
        refuses(new RawOnnx().add(out -> out.writeInt64(7, 1)).bytes(), "field 7 must have wire type 2, got 0");
        refuses(
                new RawOnnx()
                        .message(7, new RawOnnx())
                        .message(7, new RawOnnx())
                        .bytes(),
                "has two");
    }

    @Test
    void refusesInitialisersThatDoNotFit() {
        refusesTensor(RawOnnx.tensor("t", 0, 3).add(out -> out.writeInt64(1, 2)), "F32 [3, 2] needs 24 bytes, got 12");
        refusesTensor(new RawOnnx().add(out -> out.writeInt64(1, -1)).text(8, "t"), "none negative");
        refusesTensor(
                new RawOnnx()
                        .add(out -> out.writeInt64(1, Long.MAX_VALUE))
                        .add(out -> out.writeInt32(2, 1))
                        .text(8, "t"),
                "more bytes than a long can count");
        refusesTensor(new RawOnnx().add(out -> out.writeInt32(2, 14)).text(8, "t"), "data types", "got 14");
        refusesTensor(new RawOnnx().text(8, "t"), "data types", "got null");
        refusesTensor(new RawOnnx().add(out -> out.writeInt32(2, 1)), "has no name");
        refusesTensor(RawOnnx.tensor("t", 0, 1).text(8, "u"), "name of an initialiser is there twice");
        refusesTensor(RawOnnx.tensor("t", 0, 1).add(out -> out.writeFloat(4, 1)), "both raw_data and float_data");
        RawOnnx twice = new RawOnnx().message(5, RawOnnx.tensor("t", 0, 1)).message(5, RawOnnx.tensor("t", 0, 1));
        refuses(RawOnnx.model(twice), "initialiser 't' is there twice");
    }

    @Test
    void refusesALengthThatIsNotThereWithoutAllocatingIt() {
        byte[] huge = new RawOnnx()
                .add(out -> {
                    out.writeTag(7, 2);
                    out.writeUInt32NoTag(2_000_000_000);
                    out.writeTag(5, 2);
                    out.writeUInt32NoTag(1_900_000_000);
                    out.writeTag(9, 2);
                    out.writeUInt32NoTag(1_800_000_000);
                })
                .bytes();
        refuses(huge, "");
    }

    @Test
    void refusesMoreNodesThanAModelHas() {
        RawOnnx graph = new RawOnnx().add(out -> {
            for (int i = 0; i <= 100_000; i++) {
                out.writeByteArray(1, new byte[0]);
            }
        });
        refuses(RawOnnx.model(graph), "more than 100000");
    }

    @Test
    void aDamagedFileIsReadOrRefused() throws IOException {
        byte[] file = RawOnnx.model(new RawOnnx()
                .message(1, RawOnnx.node("/a/MatMul", "MatMul", List.of("x", "w"), "y"))
                .message(5, RawOnnx.tensor("w", 0, 2, 2))
                .message(5, RawOnnx.tensor("b", 0, 2)));
        Mutations mutations = new Mutations(44);
        int read = 0;
        for (int i = 0; i < 50_000; i++) {
            byte[] damaged = mutations.mutate(file);
            try {
                read(damaged);
                read++;
            } catch (MalformedFileException e) {
                assertThat(e.getMessage()).startsWith("model.onnx: ");
            }
        }
        assertThat(read).isBetween(1_000, 45_000);
    }

    private static OnnxModel read(byte[] bytes) throws IOException {
        return OnnxModel.read(NAME, new ByteArrayInputStream(bytes));
    }

    private static void refusesTensor(RawOnnx tensor, String... parts) {
        refuses(RawOnnx.model(new RawOnnx().message(5, tensor)), parts);
    }

    private static void refuses(byte[] bytes, String... parts) {
        assertThatThrownBy(() -> read(bytes))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll(parts);
    }
}
