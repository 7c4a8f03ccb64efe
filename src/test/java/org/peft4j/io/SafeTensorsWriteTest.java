package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.Shapes;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorInfo;
import org.peft4j.io.safetensors.TensorSource;

class SafeTensorsWriteTest {
    @TempDir
    Path dir;

    @Test
    void readsBackWhatItWrote() throws IOException {
        List<TensorData> tensors = new ArrayList<>();
        Random random = new Random(7);
        for (ElementType type : ElementType.used()) {
            byte[] bytes = new byte[6 * type.size()];
            random.nextBytes(bytes);
            tensors.add(new TensorData("t." + type, type, List.of(2L, 3L), ByteBuffer.wrap(bytes)));
            tensors.add(new TensorData("scalar " + type, type, List.of(), ByteBuffer.wrap(bytes, 0, type.size())));
        }
        Path path = dir.resolve("a.safetensors");

        SafeTensors.write(path, Map.of("b", "2", "a", "1\n\"é\u0001"), tensors);

        assertThat(SafeTensors.read(path).values()).containsExactlyInAnyOrderElementsOf(tensors);
        assertThat(SafeTensors.open(path).metadata())
                .containsExactly(Map.entry("a", "1\n\"é\u0001"), Map.entry("b", "2"));
    }

    /** Order and escapes as {@code safetensors} 0.8.0 wrote them for the same tensors. */
    @Test
    void ordersTensorsAsThePythonLibraryDoes() throws IOException {
        List<TensorData> tensors = new ArrayList<>();
        for (ElementType type : ElementType.used()) {
            tensors.add(zeros("b" + type, type, List.of(3L)));
            tensors.add(zeros("a" + type + "é", type, List.of()));
        }
        tensors.add(zeros("q\"\\\u0001\u001f\u007f/\ud83d\ude00\uffee\n", ElementType.F32, List.of(0L, 4L)));
        Collections.shuffle(tensors, new Random(1));
        Path path = dir.resolve("a.safetensors");

        SafeTensors.write(path, Map.of("format", "pt"), tensors);

        String file = Files.readString(path);
        assertThat(file.substring(8, file.indexOf("}}") + 2))
                .isEqualTo(("{'__metadata__':{'format':'pt'},'aI64é':{'dtype':'I64','shape':[],'data_offsets':[0,8]},"
                                + "'bI64':{'dtype':'I64','shape':[3],'data_offsets':[8,32]},"
                                + "'aF64é':{'dtype':'F64','shape':[],'data_offsets':[32,40]},"
                                + "'bF64':{'dtype':'F64','shape':[3],'data_offsets':[40,64]},"
                                + "'aF32é':{'dtype':'F32','shape':[],'data_offsets':[64,68]},"
                                + "'bF32':{'dtype':'F32','shape':[3],'data_offsets':[68,80]},"
                                + "'q\\\"\\\\\\u0001\\u001f\u007f/\ud83d\ude00\uffee\\n':"
                                + "{'dtype':'F32','shape':[0,4],'data_offsets':[80,80]},"
                                + "'aI32é':{'dtype':'I32','shape':[],'data_offsets':[80,84]},"
                                + "'bI32':{'dtype':'I32','shape':[3],'data_offsets':[84,96]},"
                                + "'aBF16é':{'dtype':'BF16','shape':[],'data_offsets':[96,98]},"
                                + "'bBF16':{'dtype':'BF16','shape':[3],'data_offsets':[98,104]},"
                                + "'aF16é':{'dtype':'F16','shape':[],'data_offsets':[104,106]},"
                                + "'bF16':{'dtype':'F16','shape':[3],'data_offsets':[106,112]},"
                                + "'aI16é':{'dtype':'I16','shape':[],'data_offsets':[112,114]},"
                                + "'bI16':{'dtype':'I16','shape':[3],'data_offsets':[114,120]},"
                                + "'aI8é':{'dtype':'I8','shape':[],'data_offsets':[120,121]},"
                                + "'bI8':{'dtype':'I8','shape':[3],'data_offsets':[121,124]},"
                                + "'aU8é':{'dtype':'U8','shape':[],'data_offsets':[124,125]},"
                                + "'bU8':{'dtype':'U8','shape':[3],'data_offsets':[125,128]},"
                                + "'aBOOLé':{'dtype':'BOOL','shape':[],'data_offsets':[128,129]},"
                                + "'bBOOL':{'dtype':'BOOL','shape':[3],'data_offsets':[129,132]}}")
                        .replace('\'', '"'));
    }

    @Test
    void padsTheHeaderSoThatDataBeginsAligned() throws IOException {
        for (int length = 1; length <= 8; length++) {
            Path path = dir.resolve("a.safetensors");
            SafeTensors.write(path, Map.of(), List.of(zeros("n".repeat(length), ElementType.F64, List.of(1L))));
            TensorInfo info = SafeTensors.open(path).tensors().get("n".repeat(length));
            assertThat(info.offset() % 8).isZero();
            assertThat(Files.size(path)).isEqualTo(info.offset() + 8);
        }
    }

    @Test
    void writesAFileWithoutTensors() throws IOException {
        Path path = dir.resolve("a.safetensors");
        SafeTensors.write(path, Map.of(), List.of());
        assertThat(Files.readAllBytes(path)).isEqualTo(RawSafeTensors.bytes("{}      ", 0));
    }

    @Test
    void refusesTwoTensorsOfOneNameAndTheReservedName() {
        TensorData a = zeros("a", ElementType.F32, List.of());
        assertThatThrownBy(() -> SafeTensors.write(dir.resolve("x"), Map.of(), List.of(a, a)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("got 'a'");
        TensorData reserved = zeros("__metadata__", ElementType.F32, List.of());
        assertThatThrownBy(() -> SafeTensors.write(dir.resolve("x"), Map.of(), List.of(reserved)))
                .isInstanceOf(IllegalArgumentException.class);
        assertThat(dir).isEmptyDirectory();
    }

    @Test
    void aSourceThatBreaksItsPromiseLeavesTheFormerFile() throws IOException {
        Path path = RawSafeTensors.write(dir.resolve("a.safetensors"), "former");
        for (int count : new int[] {0, 7, 9, 1000}) {
            assertThatThrownBy(() -> SafeTensors.write(path, Map.of(), List.of(source(count))))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("tensor 's' is F32 [2], 8 bytes, but its source wrote");
        }
        assertThat(SafeTensors.open(path).tensors()).containsOnlyKeys("former");
        assertThat(dir).isDirectoryNotContaining("glob:**.tmp-*");
    }

    /** Files that Hugging Face PEFT saved: reading and writing them again changes no byte. */
    @Test
    void writesTheBytesThatPythonWrote() throws Exception {
        for (Path file : fixtures("adapter_model.safetensors")) {
            Path copy = dir.resolve("copy.safetensors");
            SafeTensors.write(
                    copy,
                    SafeTensors.open(file).metadata(),
                    SafeTensors.read(file).values());
            assertThat(copy).as("%s", file).hasSameBinaryContentAs(file);
        }
    }

    /** Also for the configs beside them. */
    @Test
    void writesTheConfigThatPythonWrote() throws Exception {
        for (Path file : fixtures("adapter_config.json")) {
            assertThat(Json.write(Json.readObject(file))).as("%s", file).isEqualTo(Files.readString(file));
        }
    }

    @Test
    void convertsEveryFloatingPointTypeToFloats() {
        float[] values = {0f, -0f, 1f, -2.5f, 65504f, Float.POSITIVE_INFINITY, Float.NaN, 0x1p-24f, 0x1.8p-15f};
        short[] halves = {0, (short) 0x8000, 0x3c00, (short) 0xc100, 0x7bff, 0x7c00, 0x7e00, 1, 0x0300};
        ByteBuffer f16 = ByteBuffer.allocate(18).order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer f64 = ByteBuffer.allocate(72).order(ByteOrder.LITTLE_ENDIAN);
        f16.asShortBuffer().put(halves);
        for (float value : values) {
            f64.putDouble(value);
        }
        assertThat(new TensorData("h", ElementType.F16, List.of(9L), f16).toFloats())
                .isEqualTo(values);
        assertThat(new TensorData("d", ElementType.F64, List.of(3L, 3L), f64.flip()).toFloats())
                .isEqualTo(values);
        assertThat(TensorData.ofFloats("f", List.of(9L), values).toFloats()).isEqualTo(values);
        ByteBuffer bf16 = ByteBuffer.wrap(new byte[] {(byte) 0x80, 0x3f, 0x49, (byte) 0xc0});
        assertThat(new TensorData("b", ElementType.BF16, List.of(2L), bf16).toFloats())
                .containsExactly(1f, -3.140625f);
        assertThatThrownBy(() -> zeros("i", ElementType.I32, List.of()).toFloats())
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("is I32");
    }

    @Test
    void aTensorWithTheWrongNumberOfBytesCannotBeMade() {
        assertThatThrownBy(() -> TensorData.ofFloats("t", List.of(2L, 2L), new float[3]))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("tensor 't': F32 [2, 2] needs 16 bytes, got 12");
        assertThatThrownBy(() -> TensorData.ofFloats("t", List.of(-1L), new float[0]))
                .isInstanceOf(IllegalArgumentException.class);
    }

    private static TensorData zeros(String name, ElementType type, List<Long> shape) {
        return new TensorData(name, type, shape, ByteBuffer.allocate((int) Shapes.bytes(type, shape)));
    }

    /** A source that says eight bytes and writes {@code count}. */
    private static TensorSource source(int count) {
        return new TensorSource() {
            @Override
            public String name() {
                return "s";
            }

            @Override
            public ElementType dtype() {
                return ElementType.F32;
            }

            @Override
            public List<Long> shape() {
                return List.of(2L);
            }

            @Override
            public void writeTo(WritableByteChannel out) throws IOException {
                for (int i = 0; i < count; i++) {
                    out.write(ByteBuffer.wrap("x".getBytes(StandardCharsets.US_ASCII)));
                }
            }
        };
    }

    private static List<Path> fixtures(String name) throws Exception {
        var url = SafeTensorsWriteTest.class.getResource("/fixtures");
        assumeTrue(url != null, "there are no fixtures made by Hugging Face PEFT");
        try (Stream<Path> files = Files.walk(Path.of(url.toURI()))) {
            return files.filter(file -> file.endsWith(name)).sorted().toList();
        }
    }
}
