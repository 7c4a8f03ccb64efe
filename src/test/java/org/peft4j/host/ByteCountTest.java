package org.peft4j.host;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ByteCountTest {
    @ParameterizedTest
    @CsvSource({
        "0, 0 bytes",
        "999, 999 bytes",
        "1000, 1.0 kB",
        "110000, 110.0 kB",
        "1500000, 1.5 MB",
        "8589934592, 8.6 GB",
        "16000000000000, 16.0 TB"
    })
    void sizesHaveTheUnitThatShowsThem(long bytes, String text) {
        assertThat(ByteCount.text(bytes)).isEqualTo(text);
    }
}
