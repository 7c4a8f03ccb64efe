package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ForeignFormatsTest {
    @ParameterizedTest
    @CsvSource({
        "version https://git-lfs.github.com/spec/v1, Git LFS pointer",
        "<!DOCTYPE html><html>, web page",
        "' <HTML>', web page",
        "GGUF\u0003, GGUF",
        "%PDF-1.4, PDF",
        "PAR1\u0015, Parquet",
        "'\u0080\u0004', pickle",
        "'\u001f\u008b\u0008', gzip -d",
        "PK\u0003\u0004xl/workbook, xlsx"
    })
    void knowsWhatIsNotText(String start, String name) {
        for (ForeignFormats.Wanted wanted : ForeignFormats.Wanted.values()) {
            if (!name.equals("xlsx") || wanted != ForeignFormats.Wanted.WEIGHTS) { // there a zip is PyTorch's
                assertThat(ForeignFormats.describe(start.getBytes(StandardCharsets.ISO_8859_1), wanted))
                        .contains(name);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "{",
                "a",
                "ab",
                "{\"a\":1}",
                "text,label\n",
                "text",
                "version: 1\n",
                "<a>,b\n",
                "ORC,b\n",
                "BZhang,b\n",
                "\u00ef\u00bb\u00bftext,label",
                "\0",
                "a\0b",
                "\u00c3\u00a4,\u00c3\u00b6",
                "PKW,b"
            })
    void takesOtherBytesForWhatTheyMayBe(String start) {
        byte[] bytes = start.getBytes(StandardCharsets.ISO_8859_1);
        assertThat(ForeignFormats.describe(bytes)).isNull();
        assertThat(ForeignFormats.describe(bytes, ForeignFormats.Wanted.ROWS)).isNull();
    }

    @Test
    void everyExampleOfOursIsText() throws Exception {
        for (String name : new String[] {"spam-lora.yaml", "data/spamassassin/test.jsonl"}) {
            assertThat(ForeignFormats.describe(Files.readAllBytes(Path.of("src/examples", name))))
                    .isNull();
        }
    }
}
