package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.io.RawSafeTensors.bytes;
import static org.peft4j.io.RawSafeTensors.entry;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.SafeTensorsFile;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorInfo;

class SafeTensorsReadTest {
    private static final Path NAME = Path.of("adapter_model.safetensors");

    @TempDir
    Path dir;

    @Test
    void readsTensorsInTheOrderOfTheirBytes() throws IOException {
        String header = "{\"__metadata__\":{\"format\":\"pt\"}," + entry("late", "BF16", "[2,1]", 8, 12) + ","
                + entry("early", "F64", "[]", 0, 8) + "}   ";
        SafeTensorsFile file = parse(bytes(header, 12));

        assertThat(file.metadata()).containsExactly(Map.entry("format", "pt"));
        assertThat(file.tensors().keySet()).containsExactly("early", "late");
        assertThat(file.tensors().get("late"))
                .isEqualTo(new TensorInfo("late", ElementType.BF16, List.of(2L, 1L), 8 + header.length() + 8, 4));
        assertThat(file.tensors().get("early").elements()).isEqualTo(1);
    }

    @Test
    void loadsExactlyTheBytesOfEachTensor() throws IOException {
        Path path = Files.write(
                dir.resolve("a.safetensors"),
                bytes("{" + entry("a", "U8", "[3]", 0, 3) + "," + entry("é", "I16", "[1]", 3, 5) + "}", 5));

        Map<String, TensorData> tensors = SafeTensors.read(path);

        assertThat(tensors.get("a").bytes()).isEqualTo(ByteBuffer.wrap(new byte[] {0, 1, 2}));
        assertThat(tensors.get("é").bytes().getShort()).isEqualTo((short) 0x0403);
        assertThat(tensors.get("é").bytes().isReadOnly()).isTrue();
    }

    @Test
    void acceptsAFileWithoutTensorsAndTensorsWithoutElements() throws IOException {
        assertThat(parse(bytes("{}", 0)).tensors()).isEmpty();
        String empty = "{" + entry("a", "F32", "[0,7]", 0, 0) + "," + entry("b", "U8", "[2]", 0, 2) + ","
                + entry("c", "F32", "[3,0]", 2, 2) + "}";
        assertThat(parse(bytes(empty, 2)).tensors().keySet()).containsExactly("a", "b", "c");
    }

    @Test
    void refusesAFileThatIsShorterThanItsLengthField() {
        refuses(new byte[7], 0, "begins with 8 bytes that give the length of its header, but the file has only 7");
        refuses(new byte[0], 0, "only 0");
    }

    @ParameterizedTest
    @CsvSource({
        "9114861777, '9,114,861,777'",
        "100000001, '100,000,001'",
        "-1, '18,446,744,073,709,551,615'",
        "-9223372036854775808, '9,223,372,036,854,775,808'"
    })
    void refusesAnOversizedHeaderUnsigned(long length, String shown) {
        assertThatThrownBy(() -> parse(bytes(length, "{}".getBytes(StandardCharsets.UTF_8), 0)))
                .isInstanceOf(MalformedFileException.class)
                .hasMessage("adapter_model.safetensors: header says " + shown
                        + " bytes, at most 100,000,000 allowed (offset 0)");
    }

    @Test
    void refusesAHeaderThatReachesBeyondTheFile() {
        refuses(bytes(3, new byte[] {'{', '}'}, 0), 0, "header says 3 bytes, but only 2 follow");
    }

    @Test
    void refusesATruncatedFile() {
        byte[] whole = bytes("{" + entry("a", "F32", "[2]", 0, 8) + "}", 8);
        for (int length = 0; length < whole.length; length++) {
            byte[] cut = Arrays.copyOf(whole, length);
            assertThatThrownBy(() -> parse(cut)).isInstanceOf(MalformedFileException.class);
        }
        refuses(Arrays.copyOf(whole, whole.length - 1), whole.length - 8, "the file is cut off");
    }

    @Test
    void refusesBytesAfterTheLastTensor() {
        refuses(bytes("{" + entry("a", "F32", "[2]", 0, 8) + "}", 9), -2, "end after 8 bytes of data, but 9 follow");
        refuses(bytes("{}", 1), -2, "end after 0 bytes of data, but 1 follow");
    }

    @Test
    void refusesAHole() {
        String atStart = "{" + entry("a", "U8", "[2]", 1, 3) + "}";
        refuses(bytes(atStart, 3), 9, "tensor 'a' must begin at 0", "begins at 1 (a hole)");
        String between = "{" + entry("a", "U8", "[2]", 0, 2) + "," + entry("b", "U8", "[2]", 3, 5) + "}";
        refuses(bytes(between, 5), -2, "tensor 'b' must begin at 2", "begins at 3 (a hole)");
    }

    @Test
    void refusesAnOverlap() {
        String partly = "{" + entry("a", "U8", "[2]", 0, 2) + "," + entry("b", "U8", "[2]", 1, 3) + "}";
        refuses(bytes(partly, 3), -2, "tensor 'b' must begin at 2", "begins at 1 (an overlap)");
        String wholly = "{" + entry("a", "U8", "[2]", 0, 2) + "," + entry("b", "U8", "[2]", 0, 2) + "}";
        refuses(bytes(wholly, 2), -2, "(an overlap)");
    }

    @Test
    void refusesASizeThatDoesNotFollowFromShapeAndType() {
        refuses(
                bytes("{" + entry("a", "F32", "[2,3]", 0, 20) + "}", 20),
                9,
                "tensor 'a' is F32 [2, 3], 24 bytes, but its data_offsets are [0, 20]");
        refuses(bytes("{" + entry("a", "F32", "[2]", 8, 0) + "}", 8), -2, "must begin at 0");
        refuses(bytes("{" + entry("a", "F32", "[2]", 0, -8) + "}", 8), -2, "must not be negative, got -8");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "[4294967296,4294967296]",
                "[9223372036854775807]",
                "[2305843009213693952,4]",
                "[4611686018427387904,4,0]"
            })
    void refusesASizeThatWrapsAround(String shape) {
        refuses(bytes("{" + entry("a", "F32", shape, 0, 0) + "}", 0), 9, "more bytes than a long can count");
    }

    @ParameterizedTest
    @ValueSource(strings = {"[9223372036854775808]", "[1.0]", "[\"1\"]", "[null]", "[[1]]", "[-1]", "1", "{}", "[1"})
    void refusesAShapeThatIsNoListOfCounts(String shape) {
        refuses(bytes("{" + entry("a", "F32", shape, 0, 4) + "}", 4), -2, "");
    }

    @Test
    void refusesAShapeOfAbsurdRank() {
        String shape = "[" + "1,".repeat(64) + "1]";
        refuses(bytes("{" + entry("a", "F32", shape, 0, 4) + "}", 4), -2, "has more than 64 numbers");
    }

    @Test
    void refusesAnUnknownTypeAndListsTheKnownOnes() {
        refuses(
                bytes("{" + entry("a", "F7_E4M2", "[4]", 0, 4) + "}", 4),
                -2,
                "dtype must be one of [F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL, U64,",
                "got 'F7_E4M2'");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}",
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"shape\":[],\"data_offsets\":[0,1]}}",
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"\\u0064type\":\"I8\"}}",
                "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"},\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}",
                "{\"__metadata__\":{},\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},\"__metadata__\":{}}"
            })
    void refusesDuplicateKeysAtEveryLevel(String header) {
        refuses(bytes(header, 1), -2, "duplicate key");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "[]",
                "",
                " {}",
                "{",
                "{}{}",
                "{} x",
                "null",
                "{\"a\":1}",
                "{\"a\":{}}",
                "{\"a\":{\"dtype\":\"U8\"}}",
                "{a:1}",
                "{\"__metadata__\":[]}",
                "{\"__metadata__\":{\"k\":1}}",
                "{\"__metadata__\":{\"k\":null}}",
                "{/**/}",
                "{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,0]}}",
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0]}}",
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0,0]}}",
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"extra\":1}}",
                "{\"\\ud800\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"
            })
    void refusesAHeaderThatIsNotTheFormatsObject(String header) {
        refuses(bytes(header, 0), -2, "");
    }

    @Test
    void refusesBytesThatAreNotUtf8() {
        byte[] latin1 = ("{" + entry("é", "U8", "[0]", 0, 0) + "}").getBytes(StandardCharsets.ISO_8859_1);
        refuses(bytes(latin1, 0), 8 + 2, "text must be UTF-8, got byte 0xe9");
        byte[] overlong = ("{" + entry("xx", "U8", "[0]", 0, 0) + "}").getBytes(StandardCharsets.UTF_8);
        overlong[2] = (byte) 0xc0;
        overlong[3] = (byte) 0xaf;
        refuses(bytes(overlong, 0), 8 + 2, "text must be UTF-8");
        refuses(bytes("{}".getBytes(StandardCharsets.UTF_16LE), 0), -2, "");
    }

    @Test
    void refusesPickleByContentAndSaysHowToConvert() {
        byte[] zip = "PK\3\4\0\0\10\10\0\0\0\0\0\0archive/data.pkl".getBytes(StandardCharsets.ISO_8859_1);
        refuses(zip, 0, "pickle file", "torch.load(sys.argv[1]", "save_file");
        byte[] pickle = "\u0080\2}q\0(X\5\0\0\0modelq\1".getBytes(StandardCharsets.ISO_8859_1);
        refuses(pickle, 0, "pickle file", "save_file");
    }

    @Test
    void acceptsAHeaderWhoseLengthLooksLikeAPickle() throws IOException {
        String header = "{" + " ".repeat(0x280 - 2) + "}"; // the file begins 80 02, as a pickle of protocol 2 does
        assertThat(parse(bytes(header, 0)).tensors()).isEmpty();
    }

    @Test
    void saysWhatOtherCommonFilesAre() {
        refuses("version https://git-lfs.github.com/spec/v1\n".getBytes(StandardCharsets.UTF_8), 0, "git lfs pull");
        refuses("<!DOCTYPE html><html>".getBytes(StandardCharsets.UTF_8), 0, "web page");
    }

    @Test
    void escapesControlCharactersOfTheFileInMessages() {
        assertThatThrownBy(() -> parse(bytes("{" + entry("\\u001b[31m", "F8", "[]", 0, 4) + "}", 4)))
                .hasMessageContaining("\\u001b[31m")
                .message()
                .doesNotContain("\u001b");
    }

    @Test
    void aFileThatCannotBeOpenedIsNamedWithTheReason() {
        assertThatThrownBy(() -> SafeTensors.open(dir.resolve("none.safetensors")))
                .isInstanceOf(NoSuchFileException.class)
                .hasMessageContaining("none.safetensors: no such file");
        assertThatThrownBy(() -> SafeTensors.open(dir))
                .isInstanceOf(MalformedFileException.class)
                .hasMessage(dir + ": is a directory, not a file");
    }

    private static SafeTensorsFile parse(byte[] file) throws IOException {
        return SafeTensors.parseHeader(NAME, Channels.newChannel(new ByteArrayInputStream(file)), file.length);
    }

    /** An offset of -2 stands for any. */
    private static void refuses(byte[] file, long offset, String... parts) {
        assertThatThrownBy(() -> parse(file))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith("adapter_model.safetensors: ")
                .hasMessageContainingAll(parts)
                .satisfies(e -> assertThat(((MalformedFileException) e).offset())
                        .isIn(offset == -2 ? ((MalformedFileException) e).offset() : offset));
    }
}
